#!/usr/bin/env bash
# torchrun (torch 2.13.0), one machine, --max-restarts, gloo: after a worker was killed the new workers
# wait in init_process_group for those of the attempt before, whose addresses are still in the store that
# rendezvous and workers share. Their timeout is half an hour. (pytorch issue 135712 saw it with NCCL.)
# With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, or a PrefixStore of each attempt's own, they go on at once.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$place/die_once.py" <<'EOF'
import os
import signal

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1))
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGKILL)
dist.barrier()
print("joined again", flush=True)
EOF

run() {
    timeout 180 "$place/venv/bin/torchrun" --standalone --nproc-per-node 4 --max-restarts 1 \
        "$place/die_once.py" 2>/dev/null | grep -c "joined again" || true
}

shared=$(run)
own=$(TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 run)
echo "joined again within three minutes: $shared of 4 with the shared store, $own of 4 with one of their own"
[ "$own" = 4 ] && [ "$shared" != 4 ]
