"""The shared compiler cache: storages of compiled objects that machines share, and the gateway
through which a container uses one."""
