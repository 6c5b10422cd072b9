#!/bin/sh
# Makes what the compose file and the manifests take as secrets: keys, passwords, and certificates of an authority of its own.
#   deploy/make-secrets.sh deploy/compose/secrets
# One folder for each service, so that none is handed what another needs. Run as root, the files go to the users that
# the services run as; Kubernetes takes them over as Secrets (docs/deploy.md). The authority's key is needed here alone.
set -eu
umask 077

out=${1:?expected the folder to make}
days=${2:-397}
if [ -e "$out" ]; then
  echo "$out exists: nothing was made" >&2
  exit 1
fi
mkdir -p "$out/authority" "$out/guardian" "$out/worker" "$out/nats" "$out/postgres"
cd "$out"

word() { openssl rand -hex 24; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=ai-guardian deployment' \
  -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout authority/ca.key -out authority/ca.crt 2>/dev/null

# certificate FOLDER NAME: a key and a certificate for the names by which a service is called.
certificate() {
  names="DNS:$2,DNS:$2.guardian.svc,DNS:$2.guardian.svc.cluster.local,DNS:localhost,IP:127.0.0.1"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" \
    -keyout "$1/tls.key" -out "$1/tls.csr" 2>/dev/null
  printf 'basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' \
    "$names" > "$1/tls.ext"
  openssl x509 -req -in "$1/tls.csr" -CA authority/ca.crt -CAkey authority/ca.key -days "$days" \
    -extfile "$1/tls.ext" -out "$1/tls.crt" 2>/dev/null
  rm "$1/tls.csr" "$1/tls.ext"
}
certificate guardian guardian
certificate nats nats
certificate postgres postgres

server_password=$(word)
worker_password=$(word)
openssl rand -out guardian/unlock.key 32
openssl rand -out guardian/bus.key 32
cp guardian/bus.key worker/bus.key
printf '%s\n' "$server_password" > guardian/bus-password
printf '%s\n' "$worker_password" > worker/bus-password
cat > nats/users.conf <<USERS
users = [
  { user: "guardian", password: "$server_password" }
  { user: "worker", password: "$worker_password" }
]
USERS
word > guardian/postgres-password
cp guardian/postgres-password postgres/password
for service in guardian worker nats postgres; do cp authority/ca.crt "$service/ca.crt"; done

# 10001 is the image's user, 1000 the one that NATS is run as, 999 that of the PostgreSQL image.
if [ "$(id -u)" = 0 ]; then
  chown -R 10001:10001 guardian worker
  chown -R 1000:1000 nats
  chown -R 999:999 postgres
fi
echo "made $out; keep $out/authority/ca.key somewhere else"
