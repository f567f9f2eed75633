package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// Sizes of a PROXY protocol header, in bytes (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt).
const (
	proxyMaxV1 = 107     // section 2.1, line end included
	proxyFixV2 = 16      // signature, version, command, family and length
	proxyMaxV2 = 4 << 10 // ours, for what follows: addresses, and what a load balancer adds, a client's certificate included
)

var errProxyHeader = errors.New("not a PROXY protocol header")

// readProxyHeader reads a PROXY protocol header of version 1 or 2 from r, and not one byte behind it: TLS or HTTP begins there.
// It returns the client it names, or peer if the proxy speaks for itself (LOCAL) or does not know for whom (UNKNOWN).
func readProxyHeader(r io.Reader, peer netip.AddrPort) (netip.AddrPort, error) {
	head := make([]byte, len(proxyproto.SIGV2), 128) // no header of version 1 is shorter
	if _, err := io.ReadFull(r, head); err != nil {
		return peer, err
	}
	var err error
	switch {
	case bytes.Equal(head, proxyproto.SIGV2):
		head, err = readProxyV2(r, head)
	case bytes.HasPrefix(head, proxyproto.SIGV1):
		head, err = readProxyV1(r, head)
	default:
		err = errProxyHeader
	}
	if err != nil {
		return peer, err
	}
	return proxyClient(head, peer)
}

// readProxyV1 reads up to the end of the line, byte by byte: nothing else tells where it is.
func readProxyV1(r io.Reader, head []byte) ([]byte, error) {
	for head[len(head)-1] != '\n' {
		if len(head) == proxyMaxV1 {
			return nil, errProxyHeader
		}
		head = append(head, 0)
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return nil, err
		}
	}
	return head, nil
}

func readProxyV2(r io.Reader, head []byte) ([]byte, error) {
	n := len(head)
	head = head[:proxyFixV2]
	if _, err := io.ReadFull(r, head[n:]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(head[proxyFixV2-2:]))
	if length > proxyMaxV2 {
		return nil, errProxyHeader
	}
	head = append(head, make([]byte, length)...)
	if _, err := io.ReadFull(r, head[proxyFixV2:]); err != nil {
		return nil, err
	}
	return head, nil
}

// proxyClient is the client that a complete header names.
func proxyClient(head []byte, peer netip.AddrPort) (netip.AddrPort, error) {
	const proxyOfUnknown = "\x21\x00" // the library takes it for an error, the specification for "use the peer"
	if head[0] == '\r' && string(head[12:14]) == proxyOfUnknown {
		return peer, checkTLVs(head, proxyFixV2)
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(head), len(head)))
	switch {
	case err != nil:
		return peer, fmt.Errorf("%w: %w", errProxyHeader, err)
	case h.Command.IsLocal():
		return peer, nil
	}
	if h.Version == 2 {
		addresses := proxyFixV2 + 12 // two IPv4 addresses with ports
		if h.TransportProtocol.IsIPv6() {
			addresses = proxyFixV2 + 36
		}
		if err := checkTLVs(head, addresses); err != nil {
			return peer, err
		}
	}
	source, ok := h.SourceAddr.(*net.TCPAddr)
	if !ok { // datagrams and Unix sockets do not bring HTTP clients
		return peer, errProxyHeader
	}
	at := source.AddrPort()
	client := netip.AddrPortFrom(at.Addr().Unmap(), at.Port()) // rules for IPv4 hold for ::ffff:0:0/96 as well
	if !client.IsValid() || client.Addr().IsUnspecified() || client.Addr().IsMulticast() {
		return peer, errProxyHeader
	}
	return client, nil
}

// checkTLVs checks the extensions from offset on: they must fill the header, and a checksum among them must hold (section 2.2.4).
func checkTLVs(head []byte, offset int) error {
	const typeCRC32C, prefix = 0x03, 3
	for rest := head[offset:]; len(rest) > 0; {
		if len(rest) < prefix {
			return errProxyHeader
		}
		n := prefix + int(binary.BigEndian.Uint16(rest[1:]))
		if n > len(rest) {
			return errProxyHeader
		}
		if rest[0] == typeCRC32C {
			if n != prefix+crc32.Size {
				return errProxyHeader
			}
			sum := rest[prefix:n]
			want := binary.BigEndian.Uint32(sum)
			clear(sum)
			if crc32.Checksum(head, crc32.MakeTable(crc32.Castagnoli)) != want {
				return errProxyHeader
			}
			binary.BigEndian.PutUint32(sum, want)
		}
		rest = rest[n:]
	}
	return nil
}
