"""What a maintainer asks for, in one archive (`socklb bugreport`).

    collecting: the pieces, each by itself, so that one that fails leaves the others whole
    node: versions, mounts, programs with their owners, devices
    logs: the agent's last log lines, wherever they are, and its metrics
    secrets: what is taken out of every text before it is written

Not promised: that every secret is found. What is not named like one and has no such form stays: look through a report
before you send it.
"""
