"""The user data of a machine: what it runs when it starts. Anybody who may describe the machine can read it: no secrets.

Cloud-init runs it once, as root (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html). It first arms the
end of the machine and then starts ``aws_machine``, which travels inside of it.
"""

from __future__ import annotations

import gzip
import json
import re
from importlib.resources import files
from string import Template

MOST_BYTES = 16384
"""What EC2 takes, before base64; compressed user data counts as it is sent."""
FOLDER = "/opt/cellferry"
MARGIN_S = 30
"""How long after its deadline a machine is switched off that has not ended by itself; the worker needs ``LAST_S`` of it."""
MOST_S = 14 * 86400
"""The longest that a machine may live whose order names no end."""
_CERTIFICATE = re.compile(r"^cellferry (\S+) certificate ([0-9a-f]{64}) \.\s*$", re.MULTILINE)
_ENDED = re.compile(r"^cellferry (\S+) (ended -?\d+ [a-z ]*|failed|unclaimed) \.\s*$", re.MULTILINE)

_SCRIPT = Template(r"""#!/bin/sh
# cellferry: one worker. It ends itself; the source of what follows is cellferry's providers/aws_boot.py.
umask 077
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
d=$folder
mkdir -p "$$d"
cat > "$$d/off" <<'CELLFERRY'
#!/bin/sh
# The machine is set up so that switching it off terminates it. First in the orderly way, then in any.
shutdown -h now || poweroff || halt -p
sleep 10
poweroff -f
CELLFERRY
chmod 700 "$$d/off"
# The last resort, armed before anything that can fail; sleep counts by the monotonic clock. A lease that was made longer
# meanwhile is in the worker's folder.
cat > "$$d/last" <<'CELLFERRY'
#!/bin/sh
left=$$(($ends_unix_s - $$(date +%s)))
if [ "$$left" -lt 1 ]; then left=1; fi
slept=0
while [ "$$left" -gt 0 ] && [ "$$slept" -lt $most_s ]; do
  if [ "$$left" -gt $most_s ]; then left=$most_s; fi
  sleep "$$left"
  slept=$$((slept + left))
  ends=$$(sed -n 's/.*"ends_unix_s": \([0-9]*\).*/\1/p' "$folder/worker/lease.json" 2>/dev/null)
  left=$$(($${ends:-0} + $margin_s - $$(date +%s)))
done
exec "$folder/off"
CELLFERRY
chmod 700 "$$d/last"
setsid "$$d/last" </dev/null >/dev/null 2>&1 &
# A machine that starts a second time would have nobody to watch it: it goes off again.
mkdir -p /run/cellferry /etc/systemd/system/multi-user.target.wants
cat > /etc/systemd/system/cellferry-off.service <<CELLFERRY
[Unit]
Description=Switch a restarted cellferry worker off
ConditionPathExists=!/run/cellferry
[Service]
Type=oneshot
ExecStart=$$d/off
CELLFERRY
ln -sf /etc/systemd/system/cellferry-off.service /etc/systemd/system/multi-user.target.wants/cellferry-off.service
cat > "$$d/boot.json" <<'CELLFERRY'
$settings
CELLFERRY
cat > "$$d/boot.py" <<'CELLFERRY'
$program
CELLFERRY
setsid sh -c "python3 -I '$$d/boot.py' '$$d/boot.json'; exec '$$d/off'" </dev/null >"$$d/boot.log" 2>&1 &
""")


def user_data(
    *, token: str, client_cert_pem: str, port: int, ends_unix_s: float, unclaimed_s: float, folder: str = FOLDER
) -> bytes:
    """The user data, compressed: cloud-init takes that as well. The same arguments give the same bytes.

    ``ends_unix_s``: when the money for the machine is gone. ``unclaimed_s``: how long it waits for its client.
    """
    settings = {
        "token": token,
        "client_cert_pem": client_cert_pem,
        "host": "0.0.0.0",
        "port": port,
        "folder": folder,
        "unclaimed_s": unclaimed_s,
        "console": ["/dev/console", "/dev/ttyS0"],
        "metadata": "http://169.254.169.254",
    }
    script = _SCRIPT.substitute(
        folder=folder,
        ends_unix_s=int(ends_unix_s) + MARGIN_S,
        most_s=MOST_S,
        margin_s=MARGIN_S,
        settings=json.dumps(settings),
        program=program(),
    )
    return gzip.compress(script.encode(), 9, mtime=0)


def program() -> str:
    """The source of ``aws_machine``."""
    return (files("cellferry.providers") / "aws_machine.py").read_text("utf-8")


def fingerprint_in(console: str, token: str) -> str:
    """SHA-256 of the certificate that the machine wrote to its console; "" as long as it is not there."""
    for found, fingerprint in _CERTIFICATE.findall(console.replace("\r", "")):
        if found == token:
            return str(fingerprint)
    return ""


def end_in(console: str, token: str) -> str:
    """What the machine wrote of its end: "ended CODE REASON", "failed", "unclaimed", or ""."""
    said = [words for found, words in _ENDED.findall(console.replace("\r", "")) if found == token]
    return str(said[-1]).strip() if said else ""
