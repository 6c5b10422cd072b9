// Margins of tree ensembles without branches: a tree is walked in as many steps as it is deep, a leaf leads to itself, and 16
// walks at once hide each other's latency. Nodes are 16 bytes: f32 threshold, u32 byte offset of the value in its
// row, u32 address of the left child (the right one lies behind it), f32 what a leaf adds; `x > threshold` goes right. A
// leaf's threshold is infinite. Addresses are bytes. The plain form is `addMargins` of src/models/tree-ensemble.ts.

@inline
function step(node: usize, row: usize): usize {
  const x = load<f32>(row + <usize>load<u32>(node, 4));
  return <usize>load<u32>(node, 8) + ((<usize>(x > load<f32>(node))) << 4);
}

@inline
function leaf(node: usize): f64 {
  return <f64>load<f32>(node, 12);
}

@inline
function addTo(margins: usize, at: usize, value: f64): void {
  store<f64>(margins + at, load<f64>(margins + at) + value);
}

/**
 * Adds `trees` trees to the margins (f64) of 16 rows: f32, `stride` bytes a row. `roots` and `depths`: u32, one a tree.
 */
export function addBlock(
  roots: usize, depths: usize, trees: i32, rows: usize, stride: usize, margins: usize,
): void {
  const rb = rows + stride, rc = rb + stride, rd = rc + stride, re = rd + stride, rf = re + stride;
  const rg = rf + stride, rh = rg + stride, ri = rh + stride, rj = ri + stride, rk = rj + stride;
  const rl = rk + stride, rm = rl + stride, rn = rm + stride, ro = rn + stride, rp = ro + stride;
  const end = roots + ((<usize>trees) << 2);
  while (roots < end) {
    const root = <usize>load<u32>(roots);
    let a = root, b = root, c = root, d = root, e = root, f = root, g = root, h = root;
    let i = root, j = root, k = root, l = root, m = root, n = root, o = root, p = root;
    for (let left = load<u32>(depths); left !== 0; left--) {
      a = step(a, rows); b = step(b, rb); c = step(c, rc); d = step(d, rd);
      e = step(e, re); f = step(f, rf); g = step(g, rg); h = step(h, rh);
      i = step(i, ri); j = step(j, rj); k = step(k, rk); l = step(l, rl);
      m = step(m, rm); n = step(n, rn); o = step(o, ro); p = step(p, rp);
    }
    addTo(margins, 0, leaf(a)); addTo(margins, 8, leaf(b));
    addTo(margins, 16, leaf(c)); addTo(margins, 24, leaf(d));
    addTo(margins, 32, leaf(e)); addTo(margins, 40, leaf(f));
    addTo(margins, 48, leaf(g)); addTo(margins, 56, leaf(h));
    addTo(margins, 64, leaf(i)); addTo(margins, 72, leaf(j));
    addTo(margins, 80, leaf(k)); addTo(margins, 88, leaf(l));
    addTo(margins, 96, leaf(m)); addTo(margins, 104, leaf(n));
    addTo(margins, 112, leaf(o)); addTo(margins, 120, leaf(p));
    roots += 4;
    depths += 4;
  }
}

@inline
function rootAt(roots: usize, at: usize): usize {
  return <usize>load<u32>(roots + at);
}

/**
 * The margin of one row: 16 trees at a time, each group to the depth of its deepest (`depths`: u32, one a group); leaves
 * are added in the order of the trees. `trees` is a multiple of 16, filled up with single leaves of 0.
 */
export function addRow(
  roots: usize, depths: usize, trees: i32, row: usize, margin: f64,
): f64 {
  const end = roots + ((<usize>trees) << 2);
  while (roots < end) {
    let a = rootAt(roots, 0), b = rootAt(roots, 4), c = rootAt(roots, 8), d = rootAt(roots, 12);
    let e = rootAt(roots, 16), f = rootAt(roots, 20), g = rootAt(roots, 24), h = rootAt(roots, 28);
    let i = rootAt(roots, 32), j = rootAt(roots, 36), k = rootAt(roots, 40), l = rootAt(roots, 44);
    let m = rootAt(roots, 48), n = rootAt(roots, 52), o = rootAt(roots, 56), p = rootAt(roots, 60);
    for (let left = load<u32>(depths); left !== 0; left--) {
      a = step(a, row); b = step(b, row); c = step(c, row); d = step(d, row);
      e = step(e, row); f = step(f, row); g = step(g, row); h = step(h, row);
      i = step(i, row); j = step(j, row); k = step(k, row); l = step(l, row);
      m = step(m, row); n = step(n, row); o = step(o, row); p = step(p, row);
    }
    margin += leaf(a); margin += leaf(b);
    margin += leaf(c); margin += leaf(d);
    margin += leaf(e); margin += leaf(f);
    margin += leaf(g); margin += leaf(h);
    margin += leaf(i); margin += leaf(j);
    margin += leaf(k); margin += leaf(l);
    margin += leaf(m); margin += leaf(n);
    margin += leaf(o); margin += leaf(p);
    roots += 64;
    depths += 4;
  }
  return margin;
}
