#!/bin/sh
# Takes Python 3.11 from one image to another with the same or a newer glibc.
#
#   python.sh collect PYTHON LIBRARIES   in the image that has it: Python, and the shared libraries that it links
#   python.sh lacking LIBRARIES          in the other one: of these libraries, keeps those that are not there
set -eu

collect() {
  python=$1 libraries=$2 standard=$1/lib/python3.11
  mkdir -p "$python/bin" "$python/lib" "$libraries"
  cp -a /usr/local/bin/python3.11 "$python/bin/"
  ln -s python3.11 "$python/bin/python3"
  cp -a /usr/local/lib/python3.11 "$python/lib/"
  for library in /usr/local/lib/libpython3*.so*; do
    [ ! -e "$library" ] || cp -a "$library" "$python/lib/"
  done
  for unused in ensurepip idlelib test tkinter turtledemo config-3.11-x86_64-linux-gnu; do
    rm -rf "${standard:?}/$unused"
  done
  rm -rf "$standard"/site-packages/* "$standard"/dist-packages/*
  find "$standard" -name __pycache__ -type d -exec rm -r {} +
  /usr/local/bin/python3.11 -m compileall -q --invalidation-mode unchecked-hash -s "$python" -p /usr/local "$standard"
  find "$python" \( -name '*.so*' -o -name python3.11 \) -type f -exec ldd {} + |
    sed -n 's/^.* => \(\/[^ ]*\) .*$/\1/p' | sort -u |
    while read -r library; do
      case $library in /usr/local/* | "$python"/* | */libc.so.* | */libm.so.* | */libpthread.so.* | */libdl.so.*) continue ;; esac
      cp -L "$library" "$libraries/"
    done
}

lacking() {
  for library in "$1"/*; do
    name=$(basename "$library")
    case $(ldconfig -p) in *"$name "*) rm "$library" ;; esac
  done
}

"$@"
