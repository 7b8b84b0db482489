#!/bin/sh
# Unpack OHIF's build, made for the path /, and rewrite it for /ohif/: unpack.sh ARCHIVE CONFIGURATION DIRECTORY
set -eu

archive=$1 configuration=$2 directory=$3

fail() {
    echo "unpack.sh: $*: this is another build than the one that this was written for." >&2
    exit 1
}

# ort runs models that it gets from another site, as does the service worker its library; maps are for its developers.
mkdir -p "$directory"
tar -xzf "$archive" -C "$directory" --strip-components=2 --no-same-owner --exclude='*.map' \
    --exclude='package/dist/ort' --exclude='package/dist/sw.js' --exclude='package/dist/init-service-worker.js' \
    --exclude='package/dist/_headers' --exclude='package/dist/_redirects' package/dist
tar -xzf "$archive" -C "$directory" --strip-components=1 --no-same-owner package/LICENSE package/package.json
cp "$configuration" "$directory/app-config.js"
cd "$directory"

# Where a script of it looks for the others.
grep -l -F '__webpack_require__.p = "/";' -- *.js > /tmp/scripts || fail "no script says where the others are"
xargs sed -i 's#__webpack_require__\.p = "/";#__webpack_require__.p = "/ohif/";#' < /tmp/scripts
sed -i 's#url(/#url(/ohif/#g' -- *.css

# The page itself. Its own scripts become a file, so that the browser need run none that stands in a page.
cat > start.js <<'SCRIPT'
window.PUBLIC_URL = "/ohif/";
function browserImportFunction(name) {
  return import(name);
}
SCRIPT
grep -q 'function browserImportFunction(n){return import(n)}' index.html || fail "index.html lacks its script"
sed -i -E \
    -e 's#<script>[^<]*</script>##g' \
    -e 's#<script[^>]*init-service-worker\.js"></script>##' \
    -e 's#(href|src|content)="/#\1="/ohif/#g' \
    -e 's#(<script [^>]*app-config\.js">)#<script src="/ohif/start.js"></script>\1#' index.html
[ "$(grep -o '<script [^>]*>' index.html | grep -c 'src="/ohif/')" -eq 3 ] || fail "index.html has other scripts"
[ -f manifest.json ] && sed -i -E 's#"(src|start_url)": *"/#"\1": "/ohif/#g' manifest.json

find . -type d -exec chmod 0755 {} +
# The time of the build tells a browser whether it has this one.
find . -type f -exec chmod 0644 {} + -exec touch {} +
