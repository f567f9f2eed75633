package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func pointer[T any](v T) *T { return &v }

// made is a slice of IPv4 endpoints on port http 8080, edited.
func made(edit func(*discoveryv1.EndpointSlice), endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints, Ports: []discoveryv1.EndpointPort{port("http", 8080)}}
	if edit != nil {
		edit(s)
	}
	return s
}

func port(name string, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: pointer(corev1.ProtocolTCP)}
}

// endpoint is one whose conditions are ready, serving, terminating: "t", "f", or "-" for absent.
func endpoint(conditions string, addresses ...string) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: addresses}
	for i, to := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
		if c := conditions[i]; c != '-' {
			*to = pointer(c == 't')
		}
	}
	return e
}

func TestEndpointsOf(t *testing.T) {
	type list = []*discoveryv1.EndpointSlice
	zoned := endpoint("---", "10.0.0.1")
	zoned.Zone = pointer("eu-1a")
	for _, tt := range []struct {
		name   string
		slices list
		port   string
		want   string
	}{
		{"none", nil, "", ""},
		{"several slices", list{made(nil, endpoint("t--", "10.0.0.1")), made(nil, endpoint("t--", "10.0.0.2"), endpoint("t--", "10.0.0.3"))}, "", "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080"},
		{"absent stands for ready", list{made(nil, endpoint("---", "10.0.0.1"))}, "", "10.0.0.1:8080"},
		{"not ready", list{made(nil, endpoint("f--", "10.0.0.1"), endpoint("t--", "10.0.0.2"))}, "", "10.0.0.2:8080"},
		{"none ready, none serving", list{made(nil, endpoint("f--", "10.0.0.1"), endpoint("ff-", "10.0.0.2"), endpoint("fft", "10.0.0.3"))}, "", ""},
		{"those that terminate are not used beside others", list{made(nil, endpoint("ftt", "10.0.0.1")), made(nil, endpoint("t--", "10.0.0.2"))}, "", "10.0.0.2:8080"},
		{"those that terminate are used if there are no others", list{made(nil, endpoint("ftt", "10.0.0.1")), made(nil, endpoint("f-t", "10.0.0.2"), endpoint("ft-", "10.0.0.3"))}, "", "10.0.0.1:8080"},
		{"the first address stands for the others", list{made(nil, endpoint("t--", "10.0.0.1", "10.0.0.2"), endpoint("t--"))}, "", "10.0.0.1:8080"},
		{"addresses that are none", list{made(nil, endpoint("t--", "evil.test"), endpoint("t--", ""), endpoint("t--", "10.0.0.1:1"), endpoint("t--", "10.0.0.1"))}, "", "10.0.0.1:8080"},
		{"IPv6", list{made(func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeIPv6 }, endpoint("t--", "fd00::1"))}, "", "[fd00::1]:8080"},
		{"names", list{made(func(s *discoveryv1.EndpointSlice) { s.AddressType = discoveryv1.AddressTypeFQDN }, endpoint("t--", "10.0.0.1"))}, "", ""},
		{"zone", list{made(nil, zoned)}, "", "10.0.0.1:8080 zone=eu-1a"},
		{"each slice has its own port", list{
			made(nil, endpoint("t--", "10.0.0.1")),
			made(func(s *discoveryv1.EndpointSlice) { s.Ports = []discoveryv1.EndpointPort{port("http", 9090)} }, endpoint("t--", "10.0.0.2")),
			made(func(s *discoveryv1.EndpointSlice) { s.Ports = []discoveryv1.EndpointPort{port("admin", 9091)} }, endpoint("t--", "10.0.0.3")),
		}, "http", "10.0.0.1:8080 10.0.0.2:9090"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known := map[string]*discoveryv1.EndpointSlice{}
			for i, s := range tt.slices {
				known[fmt.Sprint(i)] = s
			}
			var out []string
			for _, e := range endpointsOf(known, tt.port) {
				out = append(out, e.Address)
				for _, m := range e.Metadata {
					out = append(out, m.Name+"="+m.Value)
				}
			}
			if got := strings.Join(out, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPortOf(t *testing.T) {
	type ports = []discoveryv1.EndpointPort
	udp := func(name string, number int32) discoveryv1.EndpointPort {
		p := port(name, number)
		p.Protocol = pointer(corev1.ProtocolUDP)
		return p
	}
	bare := discoveryv1.EndpointPort{Port: pointer(int32(8080))} // neither name nor protocol
	for _, tt := range []struct {
		name  string
		ports ports
		want  string
		port  int // 0: none
	}{
		{"the only one", ports{port("http", 8080)}, "", 8080},
		{"the only one, without a name", ports{bare}, "", 8080},
		{"one of two, unsaid which", ports{port("http", 8080), port("admin", 9090)}, "", 0},
		{"none", nil, "", 0},
		{"by name", ports{port("http", 8080), port("admin", 9090)}, "admin", 9090},
		{"by number", ports{port("http", 8080), port("admin", 9090)}, "9090", 9090},
		{"by number, without a name", ports{bare}, "8080", 8080},
		{"by a name nobody has", ports{port("http", 8080)}, "https", 0},
		{"by a number nobody has", ports{port("http", 8080)}, "80", 0},
		{"the only one of TCP", ports{udp("http3", 443), port("https", 443)}, "", 443},
		{"UDP by name", ports{udp("http3", 443)}, "http3", 0},
		{"UDP by number", ports{udp("http3", 443)}, "443", 0},
		{"any port", ports{{Name: pointer("http")}}, "http", 0},
		{"out of range", ports{port("http", 0), port("http", -1), port("http", 65536), port("http", 65535)}, "http", 65535},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := portOf(&discoveryv1.EndpointSlice{Ports: tt.ports}, tt.want)
			if got != tt.port || ok != (tt.port != 0) {
				t.Errorf("got %d, %v, want %d", got, ok, tt.port)
			}
		})
	}
}
