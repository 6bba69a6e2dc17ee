"""What is true on a node, for people: `socklb status` prints it.

    collected: the agent's report, or what the kernel shows where no agent runs; the rows of `socklb service list`
    served: which Service types are served, by what and for whom, as far as it was read back
    summary: a report as text

The report itself is `socklb.report`, which metrics, probes and alarms read too.

Not promised: anything that could not be read back. What is not there is not said to serve.
"""
