# Runs the suites in the guest; everything they write goes to /results and to the console.
cd /payload/repository || exit 1
{ uname -srv; zfs version; /payload/node --version; } > /results/versions.txt
cat /results/versions.txt
rc=0
for part in guest guest-registry; do
  ZFS_RESULTS=/results NODE_ENV=test TZ=UTC /payload/node --import=./test/support/seed.ts \
    --test-reporter=spec --test-reporter-destination="/results/$part.txt" \
    --test-reporter=spec --test-reporter-destination=stdout "test/campaigns/zfs/$part.ts" || rc=1
done
echo $rc > /results/rc
{ zpool status -p; zpool list; zfs list -t all -o name,used,encryption,keystatus,userrefs,org.aiguardian:digest; zpool events; } \
  > /results/pools.txt 2>&1
cat /results/rc
