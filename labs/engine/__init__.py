"""The engine of the labs: it does a step, captures packets, keeps the evidence and says the verdict (docs/labs.md).

    cli, verbs, language: the `lab` command, one module per verb; the reader's language
    model, prose: a lab: its steps in lab.py, each bound to a section of its README
    scenario, cluster, needs: who asks whom; nodes, pods and Services as data; what a step must find
    runner, guide, session: a lab's steps one after the other; by hand; the lab that is at work
    env, capture, pcap, packet, conversation: what a step may use; what tcpdump saw; frames; exchanges
    evidence, claims, junit: what was recorded; what is claimed of it, with a verdict; the same as JUnit XML
    target, kubernetes, local, places, objects: what it runs on: the cluster's API, or the local cluster; commands there
    stage, progress, terminal: the cluster before and after a lab; the open step; commands that the reader types
    agents, servers, load, asker: agents and servers that end and serve again; a load that goes on meanwhile
    two_ways, answers, conntrack, rules, packet_path, tables, latency: looks that several labs share
    screen, ladder, wrap, errors: lines of 80 columns, packets as a ladder, and what can go wrong
    report: the page of what labs have recorded

Not promised: a claim without evidence. A check reads what was recorded and asks nobody.
"""
