# A notebook's server on TonY's port, asked once by itself.
cd "$HOME" && [ "$HOME" = "$PWD" ] || exit 6
python3 -m http.server "$TB_PORT" &
for _ in $(seq 100); do
    python3 -c "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['TB_PORT']).read()" && break
    sleep 0.1
done && touch "$SEEN/served"
kill %1
