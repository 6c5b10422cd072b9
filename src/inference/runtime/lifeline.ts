import { Socket } from 'node:net';
import { workerData } from 'node:worker_threads';

/**
 * A thread that ends its process once the parent is gone, however it went: the pipe that it holds closes then. It has a thread of
 * its own, since the one that computes may not come back for minutes.
 */
const pipe = new Socket({ fd: (workerData as { readonly fd: number }).fd });
const end = () => process.kill(process.pid, 'SIGKILL');
pipe.on('end', end).on('error', end).on('close', end).resume();
