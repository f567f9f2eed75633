package engine

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
)

const signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"

// v2 makes a header of version 2: command and family, then what follows, with its length.
func v2(kind string, rest ...string) string {
	body := strings.Join(rest, "")
	return signatureV2 + kind + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
}

// summed fills in the checksum of a header whose last four bytes are for it.
func summed(header string) string {
	b := []byte(header)
	binary.BigEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return string(b)
}

const (
	v4Addresses = "\xcb\x00\x71\x07\x0a\x00\x00\x01\xd4\x31\x01\xbb" // 203.0.113.7:54321 to 10.0.0.1:443
	v6Addresses = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xd4\x31\x01\xbb"
)

var proxyHeaders = []struct {
	name, header string
	want         string // the client, "peer" for the proxy itself, "" for refused
}{
	{"v1, IPv4", "PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\r\n", "203.0.113.7:54321"},
	{"v1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 54321 443\r\n", "[2001:db8::7]:54321"},
	{"v1, IPv4 in IPv6", "PROXY TCP6 ::ffff:203.0.113.7 ::1 54321 443\r\n", "203.0.113.7:54321"},
	{"v1, unknown", "PROXY UNKNOWN\r\n", "peer"},
	{"v1, unknown with addresses", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "peer"},
	{"v1, longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", ""}, // ff00::/8 is multicast
	{"v2, IPv4", v2("\x21\x11", v4Addresses), "203.0.113.7:54321"},
	{"v2, IPv6", v2("\x21\x21", v6Addresses), "[2001:db8::7]:54321"},
	{"v2, IPv4 in IPv6", v2("\x21\x21", strings.Repeat("\x00", 10), "\xff\xff\xcb\x00\x71\x07", v6Addresses[16:]), "203.0.113.7:54321"},
	{"v2, local", v2("\x20\x00"), "peer"},
	{"v2, local with addresses to skip", v2("\x20\x11", v4Addresses), "peer"},
	{"v2, local with anything to skip", v2("\x20\x11", "abc"), "peer"},
	{"v2, unknown", v2("\x21\x00"), "peer"},
	{"v2, unknown with extensions", v2("\x21\x00", "\xe0\x00\x01x"), "peer"},
	{"v2, extensions", v2("\x21\x11", v4Addresses, "\x02\x00\x01a", "\xea\x00\x00"), "203.0.113.7:54321"},
	{"v2, checksum", summed(v2("\x21\x11", v4Addresses, "\x03\x00\x04\x00\x00\x00\x00")), "203.0.113.7:54321"},
	{"v2, much", v2("\x21\x11", v4Addresses, "\x20\x0f\xf1", strings.Repeat("x", 4081)), "203.0.113.7:54321"},

	{"HTTP", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", ""},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaa", ""},
	{"nothing", "", ""},
	{"half a signature", "PROX", ""},
	{"v1 cut short", "PROXY TCP4 203.0.113.7", ""},
	{"v1 without CR", "PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\n", ""},
	{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", ""},
	{"v1 endless", "PROXY " + strings.Repeat("x", 1<<16), ""},
	{"v1 lower case", "proxy TCP4 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, two spaces", "PROXY  TCP4 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, a tab", "PROXY\tTCP4 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, glued", "PROXYTCP4 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, other family", "PROXY TCP4 2001:db8::7 10.0.0.1 54321 443\r\n", ""},
	{"v1, IPv4 as TCP6", "PROXY TCP6 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, UDP", "PROXY UDP4 203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, too few", "PROXY TCP4 203.0.113.7 10.0.0.1 54321\r\n", ""},
	{"v1, too many", "PROXY TCP4 203.0.113.7 10.0.0.1 54321 443 1\r\n", ""},
	{"v1, no address", "PROXY TCP4 localhost 10.0.0.1 54321 443\r\n", ""},
	{"v1, octal address", "PROXY TCP4 0203.0.113.7 10.0.0.1 54321 443\r\n", ""},
	{"v1, hexadecimal address", "PROXY TCP4 0x7f.1 10.0.0.1 54321 443\r\n", ""},
	{"v1, short address", "PROXY TCP4 127.1 10.0.0.1 54321 443\r\n", ""},
	{"v1, number as address", "PROXY TCP4 2130706433 10.0.0.1 54321 443\r\n", ""},
	{"v1, zone", "PROXY TCP6 fe80::1%eth0 fe80::2 54321 443\r\n", ""},
	{"v1, unspecified", "PROXY TCP4 0.0.0.0 10.0.0.1 54321 443\r\n", ""},
	{"v1, multicast", "PROXY TCP4 224.0.0.1 10.0.0.1 54321 443\r\n", ""},
	{"v1, port too large", "PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n", ""},
	{"v1, port with sign", "PROXY TCP4 203.0.113.7 10.0.0.1 +5432 443\r\n", ""},
	{"v1, port with zero", "PROXY TCP4 203.0.113.7 10.0.0.1 054321 443\r\n", ""},
	{"v2 cut short", v2("\x21\x11", v4Addresses)[:20], ""},
	{"v2, signature only", signatureV2, ""},
	{"v2, other version", v2("\x31\x11", v4Addresses), ""},
	{"v2, other command", v2("\x22\x11", v4Addresses), ""},
	{"v2, other family", v2("\x21\x41", v4Addresses), ""},
	{"v2, other transport", v2("\x21\x13", v4Addresses), ""},
	{"v2, UDP", v2("\x21\x12", v4Addresses), ""},
	{"v2, Unix", v2("\x21\x31", strings.Repeat("\x00", 216)), ""},
	{"v2, addresses cut short", v2("\x21\x11", v4Addresses[:11]), ""},
	{"v2, too long", v2("\x21\x11", v4Addresses, "\x20\x0f\xf2", strings.Repeat("x", 4082)), ""},
	{"v2, longest length", signatureV2 + "\x21\x11\xff\xff" + strings.Repeat("x", 1<<16), ""},
	{"v2, unspecified", v2("\x21\x11", "\x00\x00\x00\x00", v4Addresses[4:]), ""},
	{"v2, multicast", v2("\x21\x11", "\xe0\x00\x00\x01", v4Addresses[4:]), ""},
	{"v2, extension cut short", v2("\x21\x11", v4Addresses, "\x02\x00\x02a"), ""},
	{"v2, extension without length", v2("\x21\x11", v4Addresses, "\x02\x00"), ""},
	{"v2, unknown with half an extension", v2("\x21\x00", "\xe0\x00\x02x"), ""},
	{"v2, wrong checksum", v2("\x21\x11", v4Addresses, "\x03\x00\x04\x00\x00\x00\x00"), ""},
	{"v2, short checksum", v2("\x21\x11", v4Addresses, "\x03\x00\x02\x00\x00"), ""},
}

var proxyPeer = netip.MustParseAddrPort("10.0.0.9:1234")

func TestProxyHeader(t *testing.T) {
	for _, tt := range proxyHeaders {
		t.Run(tt.name, func(t *testing.T) {
			const behind = "\x16\x03\x01 what comes behind"
			r := strings.NewReader(tt.header + behind)
			if len(tt.header) < 12 || strings.HasSuffix(tt.name, "cut short") {
				r = strings.NewReader(tt.header)
			}
			got, err := readProxyHeader(r, proxyPeer)
			switch {
			case tt.want == "":
				if err == nil {
					t.Errorf("believed %s", got)
				}
				if got != proxyPeer {
					t.Errorf("gives %s with its error", got)
				}
				return
			case err != nil:
				t.Fatal(err)
			case tt.want == "peer" && got != proxyPeer, tt.want != "peer" && got.String() != tt.want:
				t.Errorf("client %s, want %s", got, tt.want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != behind {
				t.Errorf("left %q", rest)
			}
		})
	}
}

// bounded fails the test if more is read than a header can have.
type bounded struct {
	r io.Reader
	n int
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += n
	return n, err
}

// FuzzProxyHeader: whatever comes, no more is read than the longest header, and a client that is believed is a plain address.
func FuzzProxyHeader(f *testing.F) {
	for _, tt := range proxyHeaders {
		f.Add([]byte(tt.header))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		r := &bounded{r: bytes.NewReader(header)}
		got, err := readProxyHeader(r, proxyPeer)
		if r.n > proxyFixV2+proxyMaxV2 {
			t.Fatalf("read %d bytes", r.n)
		}
		if err != nil {
			if got != proxyPeer {
				t.Fatalf("gives %s with its error", got)
			}
			if !errors.Is(err, errProxyHeader) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("error %v", err)
			}
			return
		}
		a := got.Addr()
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
			t.Fatalf("believes %s from %s", got, hex.EncodeToString(header))
		}
		again := &bounded{r: bytes.NewReader(header[:r.n])}
		if same, err := readProxyHeader(again, proxyPeer); err != nil || same != got || again.n != r.n {
			t.Fatalf("the header alone gives %s, %v", same, err)
		}
	})
}
