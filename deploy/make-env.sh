#!/bin/sh
# Makes the files that docker-compose.yml needs: .env with random passwords, the service's key, the folder of models.
# Existing files and values are kept: run it again after an upgrade, and it adds only what is missing.
#
#   deploy/make-env.sh [FOLDER]      FOLDER: where docker-compose.yml is; default: the repository's root
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
cd "${1:-$source}"
umask 077

random_hex() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
value() { sed -n "s/^$1=//p" .env | tail -n 1; }

[ -e .env ] || cp "$source/.env.example" .env
chmod 600 .env
for name in POSTGRES_PASSWORD SERVICE_DB_PASSWORD SIGNER_DB_PASSWORD REDIS_PASSWORD; do
    if [ -z "$(value "$name")" ]; then
        # written to a draft and renamed: an .env that is cut short would lose a password
        made=$(random_hex) name=$name awk '
            BEGIN { line = ENVIRON["name"] "=" ENVIRON["made"] }
            index($0, ENVIRON["name"] "=") == 1 { if (!done++) print line; next }
            { print }
            END { if (!done) print line }
        ' .env >.env.draft
        mv .env.draft .env
        echo "$name: made, in .env"
    fi
done

# The image's user must be able to read the key, whoever owns the file here: so the folder keeps other users out.
secrets=$(value SECRETS_DIR)
secrets=${secrets:-./secrets}
if [ ! -d "$secrets" ]; then
    mkdir -p "$secrets"
    echo '*' >"$secrets/.gitignore"
fi
chmod 700 "$secrets"
if [ ! -s "$secrets/service.key" ]; then
    head -c 32 /dev/urandom | base64 >"$secrets/service.key.draft"
    mv "$secrets/service.key.draft" "$secrets/service.key"
    echo "service key: made, in $secrets/service.key. Keep a copy apart from the database's back-ups."
fi
chmod 444 "$secrets/service.key"

models=$(value MODELS_DIR)
models=${models:-./models}
if [ ! -d "$models" ]; then
    mkdir -p "$models"
    echo '*' >"$models/.gitignore"
    chmod 755 "$models"
    echo "models: put directories of models that may be registered into $models"
fi
