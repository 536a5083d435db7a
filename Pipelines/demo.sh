#!/bin/bash
# `make demo`: three guests of User-Mode Linux share one base image; they have to move.
# They are migrated twice (each one flattened, and as a fleet that stays one, with a pipeline file), one move is killed on the way and
# continued, and every byte is compared with what the guests themselves read. Everything happens in demo-out/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

drover=${DROVER:-$PWD/.build/release/drover}
out=demo-out
[[ -x $drover ]] || { echo "demo: $drover is not there (make build)" >&2; exit 1; }

bold='' dim='' red='' green='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; fi

failures=0
step() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
say() { printf '%s%s%s\n' "$dim" "$1" "$plain"; }
show() { printf '%s$ drover %s%s\n' "$green" "$*" "$plain"; "$drover" "$@"; }
fact() { # fact TEXT COMMAND...: states TEXT, and counts a failure when COMMAND fails
    local text=$1
    shift
    if "$@" >/dev/null; then
        printf '  yes  %s\n' "$text"
    else
        printf '  %sNO%s   %s\n' "$red" "$plain" "$text"
        failures=$((failures + 1))
    fi
}
digest() { sha256sum "$1" | cut -d ' ' -f 1; }
has_digest() { [[ $(digest "$1") == "$2" ]]; }
on_disk() { du -k "$@" | awk '{ sum += $1 } END { printf "%.1f MiB", sum / 1024 }'; }
recorded() { grep -c . "$1" 2>/dev/null || true; }
now() { date +%s%N; }

rm -rf "$out"
mkdir -p "$out/raw"
tar -xf Fixtures/uml-fleet.tar.xz -C "$out"
mv "$out/a" "$out/fleet"
fleet=$out/fleet
guests=("$fleet"/guests/*.cow)
map=(--backing-map "/srv/uml=$fleet")

step "1. A fleet that was moved"
say "The guests' headers still name the base's old home, /srv/uml; --backing-map says where that is now."
show info --backing-chain "${map[@]}" "$fleet/guests/a3-db.cow"

step "2. Is it sound?"
say "Header, bitmap, length, and whether the base is the one the overlays were made on (same size, same modification time)."
show check "${map[@]}" "${guests[@]}"

step "3. Where is the data?"
say "From bitmaps and holes alone, nothing is read. 0 is the overlay, 1 the base, + has data of both. (A table without --output, or JSON.)"
show map --output picture "${map[@]}" "$fleet/guests/a3-db.cow"

step "4. Flatten every guest to a raw image"
declare -A took
while IFS=$'\t' read -r name _ expected _; do
    target=$out/raw/$name.raw
    started=$(now)
    show convert "${map[@]}" "$fleet/guests/$name.cow" "$target"
    took[$name]=$((($(now) - started) / 1000000))
    fact "$target has every byte that the guest itself read" has_digest "$target" "$expected"
done <"$fleet/expect.tsv"

step "5. Kill one in the middle"
say "Slowed down with --rate, with a checkpoint every MiB, and killed with SIGKILL: no chance to tidy up."
target=$out/raw/killed.raw
slow=(convert "${map[@]}" --segment 1M "$fleet/guests/a3-db.cow" "$target")
printf '%s$ drover %s & sleep; kill -9%s\n' "$green" "${slow[*]} --rate 4M" "$plain"
"$drover" "${slow[@]}" --rate 4M &
job=$!
for _ in $(seq 200); do
    [[ $(recorded "$target.manifest") -ge 5 ]] && break
    kill -0 "$job" 2>/dev/null || break
    sleep 0.05
done
code=0
{ # the shell reports a killed job as soon as it sees it, so both stand under the redirection
    kill -9 "$job"
    wait "$job"
} 2>/dev/null || code=$?
before=$(recorded "$target.manifest")
cp "$target.manifest" "$out/before-the-kill" 2>/dev/null || true
fact "it was killed and did not end by itself" test "$code" -eq 137
fact "nothing stands under the final name" test ! -e "$target"
fact "the unfinished image is $target.partial, with $before lines in its manifest" test "$before" -ge 2 -a -e "$target.partial"
say "The same command again takes up the work at the last checkpoint:"
show "${slow[@]}"
keeps_lines() { # the last line may have been torn by the kill
    cmp -s <(head -n "$((before - 1))" "$out/before-the-kill") <(head -n "$((before - 1))" "$target.manifest")
}
fact "what had been recorded was not done again" keeps_lines
fact "the image is the same as the one made in one go" cmp "$target" "$out/raw/a3-db.raw"
rm -f "$out/before-the-kill" "$target" "$target.manifest"

step "6. Move the fleet as a fleet"
say "A pipeline file says what it is and where it goes; paths start at the file. keep-chain: overlays stay overlays of one moved base."
cat >"$out/fleet.yaml" <<'END'
sources: [fleet/*/*.cow]
confine: [fleet]
backing-map: {/srv/uml: fleet}
target:
  directory: moved
  name: "{directory}/{name}.{extension}"
  format: cow
  keep-chain: true
END
printf '%s$ cat %s%s\n' "$green" "$out/fleet.yaml" "$plain"
cat "$out/fleet.yaml"
files_moved() { find "$out/moved" -type f -printf '%P %i %T@ %s\n' | sort; }
say "What would be done? Nothing is written yet."
show plan "$out/fleet.yaml"
fact "nothing was written" test ! -e "$out/moved"
say "Do it: the base once and first, then the overlays, side by side."
started=$(now)
show run "$out/fleet.yaml"
fleet_took=$((($(now) - started) / 1000000))
moved_files=$(files_moved)
while IFS=$'\t' read -r name _; do
    fact "$name shows a guest what the original shows" "$drover" compare "${map[@]}" "$fleet/guests/$name.cow" "$out/moved/guests/$name.cow"
done <"$fleet/expect.tsv"
fact "the moved fleet is sound, and needs no --backing-map any more" "$drover" check "$out"/moved/guests/*.cow
say "Again: what is up to date stays as it is. After an interruption or an error, the same command does what is left."
show run "$out/fleet.yaml"
fact "no file was touched" test "$(files_moved)" = "$moved_files"
show status "$out/fleet.yaml"
say "The same as a page for any browser, with a map of every guest's disk:"
show report -v "$out/fleet.yaml" --html "$out/report.html"
fact "the page is there: open $out/report.html" test -s "$out/report.html"

step "7. Prove it again later"
say "Every target keeps its manifest; verify reads the target back against it."
for target in "$out"/raw/*.raw "$out"/moved/base/a.img "$out"/moved/guests/*.cow; do
    fact "$target is what was written" "$drover" verify "$target"
done
say "One flipped byte, in a copy:"
cp --sparse=always "$out/raw/a1-idle.raw" "$out/damaged.raw"
cp "$out/raw/a1-idle.raw.manifest" "$out/damaged.raw.manifest"
printf '\xff' | dd of="$out/damaged.raw" bs=1 seek=1049600 conv=notrunc status=none
code=0
show verify "$out/damaged.raw" || code=$?
fact "it was found (exit code 2)" test "$code" -eq 2
rm -f "$out"/damaged.raw*

step "Result"
row() { printf '%-10s %16s %16s %8s %16s %8s\n' "$@"; }
row guest "overlay before" "as raw" ms "as overlay" ms
raw_took=0
for guest in "${guests[@]}"; do
    name=$(basename "$guest" .cow)
    row "$name" "$(on_disk "$guest")" "$(on_disk "$out/raw/$name.raw")" "${took[$name]}" "$(on_disk "$out/moved/guests/$name.cow")" -
    raw_took=$((raw_took + ${took[$name]}))
done
row base "$(on_disk "$fleet/base/a.img")" - - "$(on_disk "$out/moved/base/a.img")" -
row all "$(on_disk "$fleet"/base/a.img "${guests[@]}")" "$(on_disk "$out"/raw/*.raw)" "$raw_took" \
    "$(on_disk "$out"/moved/base/a.img "$out"/moved/guests/*.cow)" "$fleet_took"

if [[ $failures -gt 0 ]]; then printf '\n%s%d of the facts above are wrong.%s\n' "$red" "$failures" "$plain"; exit 1; fi
printf '\n%sEverything is as it was: look around in %s/.%s\n' "$green" "$out" "$plain"
