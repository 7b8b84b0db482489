"""A forwarder between two services that share no network: only one can connect to the other.

It stands on a network with each. Who asks connects to it; it connects to who is asked, and to
nobody else. From the side of who is asked, nothing can be reached through it but oneself.
"""
