"""A thin HTTP/1.1 server: trio sockets, httptools for request heads, and nothing of S3.

    head.py        request head -> wire Request, framing decisions, smuggling defences      (pure)
    chunked.py     the chunked transfer coding                                              (pure)
    patience.py    how long a slow client may keep us waiting                               (pure)
    response.py    what a handler answers, and the bytes of its head
    transport.py   a socket, or TLS over one: receive, send, send a piece of a file
    incoming.py    a request's body, up to its end and not a byte further
    connection.py  one connection: request, response, request ...
    server.py      accepting, limits, idle connections, drain

Requests of one connection are handled strictly in order. A head is found by its blank line and only it is fed to the parser; the body is
counted, or decoded, by us, so no byte of a body can ever be parsed as a request.
"""
