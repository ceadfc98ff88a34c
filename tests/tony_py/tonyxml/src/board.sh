# In TensorBoard's place: a page on its port, until it is ended.
echo "$TB_LOG_DIR" > index.html
exec python3 -m http.server "$TB_PORT"
