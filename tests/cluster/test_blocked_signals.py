from __future__ import annotations

import signal
import subprocess
import sys
import time


def test_an_interpreter_outlives_signals_until_it_is_ready() -> None:
    program = (
        "import signal, sys\nprint('up', flush=True)\nsys.stdin.readline()\n"
        "signal.signal(signal.SIGUSR2, lambda *_: print('told'))\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "bsou_dist.cluster.blocked_signals", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.1)
        output, _ = process.communicate("go on\n", timeout=300)
    assert (process.returncode, output) == (0, "told\n")
