"""The actor runtime: independent actors in processes of their own, with mailboxes that outlive them.

It knows nothing of containers. An actor's author needs ``message`` (typed messages and their kinds), ``actor`` (the
base class and its ports) and ``views`` (what can be asked of ``root``). Who puts a supervisor together needs ``table``
(the start list and the configuration) and ``nursery.run_nursery``. The rest, from the outside in::

    nursery        the first process: forks, reaps, holds the lock and the listening socket
      nursery_link   what it and root say to each other
      process        what a process does to itself after a fork
    root_loop      root's process: one loop over all connections, which feeds ...
      post_office    ... the routing, without sockets
        mailbox        one mailbox, a pure data structure
        records        dead letters and trace
      root_link      the connection to one actor
      root_desk      where the root supervisor hands in its orders
      facts          what the loop tells the root supervisor (``actors/root.py``), which asks ...
      supervision    ... what to start, to watch and to kill: a pure machine
      views_of_actors  the list of all processes for people
    child_host     an actor's process: the connection, the start, the exit
      host           feeds one actor and is its post; knows no sockets
      wire           frames on the socket
      timers, output, mask   a timer thread, log lines, hidden secrets
"""
