//! A client for the warden's and the cells' sockets.
