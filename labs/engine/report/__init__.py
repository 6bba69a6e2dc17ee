"""One page of what labs have recorded: `lab report` writes it, `lab report --live` serves it while steps run.

    story: what is told: labs, steps, captures, from the README and `.lab/`
    who: what stands behind an address: Service, pod, node
    topology, arrows, plot: where things stand in the drawings
    rules: rules of iptables in words
    pcapng: captures whose packets carry a comment
    page, live: the templates filled; the same page over HTTP

Not promised: a cluster. The page is made of files alone.
"""
