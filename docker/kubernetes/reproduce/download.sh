# Downloads the same file until told to end, and says what failed, and once a minute how it stands.
# $1 is the URL; $2 is what the file's length is.
trap 'exit 0' TERM
complete=0 failed=0 said=$(date +%s)
while :; do
  # A query of its own makes each a new file to the proxy: what is tried is the way to the origin, not the store.
  if words=$(curl --silent --show-error --fail --max-time 60 --output /dev/null \
    --write-out '%{size_download}' "$1?$(hostname)-$complete-$failed" 2>&1) && [ "$words" = "$2" ]; then
    complete=$((complete + 1))
  else
    failed=$((failed + 1))
    echo "$(date -u +%FT%TZ) failed: $words"
    sleep 1
  fi
  now=$(date +%s)
  if [ $((now - said)) -ge 60 ]; then
    said=$now
    echo "$(date -u +%FT%TZ) $complete complete, $failed failed"
  fi
done
