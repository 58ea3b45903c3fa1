package dist

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// localAddress is the address by which the other ranks reach this process: that of the interface which GLOO_SOCKET_IFNAME
// names, or the one from which this machine sends to the store. A machine's own name, which Gloo would look up, stands for
// 127.0.1.1 on many.
func localAddress(w launch.World) (string, error) {
	if name := os.Getenv("GLOO_SOCKET_IFNAME"); name != "" {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return "", fmt.Errorf("GLOO_SOCKET_IFNAME=%s: %w", name, err)
		}
		if ip := firstIP(i); ip != nil {
			return ip.String(), nil
		}
		return "", fmt.Errorf("GLOO_SOCKET_IFNAME=%s: the interface has no address", name)
	}
	c, err := net.Dial("udp", net.JoinHostPort(w.Address, strconv.Itoa(w.Port))) // sends nothing
	if err != nil {
		return "", fmt.Errorf("looking for the way to %s: %w", w.Address, err)
	}
	defer c.Close()
	ip := c.LocalAddr().(*net.UDPAddr).IP
	if !ip.IsLoopback() || w.Nodes <= 1 {
		return ip.String(), nil
	}
	// The store's name stands for this machine, whose own file says that it is 127.0.1.1.
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("listing network interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			if ip := firstIP(&i); ip != nil {
				return ip.String(), nil
			}
		}
	}
	return ip.String(), nil
}

func firstIP(i *net.Interface) net.IP {
	addresses, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			return n.IP
		}
	}
	return nil
}
