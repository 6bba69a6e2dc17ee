# Records a machine's state before anything is changed: record.sh STATE "FILE..." "FOLDER..." "SYSCTL..."
# It is done once, completely or not at all: the folder gets its name at the end.
set -eu
cd / # cp --parents of coreutils 9.1 looks for the folders of an absolute path here
state=$1 files=$2 folders=$3 sysctls=$4

[ ! -e "$state/before" ] || exit 0
new=$state/before.new
rm -rf "$new"
mkdir -p "$state" # apt reads packages in it as a user of its own
mkdir -m 700 "$new" "$new/files"
dpkg-query --show --showformat '${db:Status-Abbrev}\t${binary:Package}\n' | sed -n 's/^ii *\t//p' | sort >"$new/packages"
apt-mark showauto | sort >"$new/automatic"
for accounts in passwd group; do
    cut -d : -f 1 /etc/$accounts | sort >"$new/$accounts"
done
for file in $files; do
    if [ -e "$file" ] || [ -L "$file" ]; then
        cp --archive --parents "$file" "$new/files"
    else
        echo "$file"
    fi
done >"$new/absent"
for folder in $folders; do
    [ -e "$folder" ] || echo "$folder"
done >"$new/absent-folders"
for key in $sysctls; do
    sysctl -e "$key"
done >"$new/sysctls"
{ nft list tables 2>/dev/null || true; } >"$new/tables"
lsmod | awk 'NR > 1 { print $1 }' | sort >"$new/modules"
sync
mv "$new" "$state/before"
