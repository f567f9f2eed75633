package hostile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// session is a connection whose handshake crypto/tls has made, and whose records the test makes from there on: a client of
// crypto/tls sends none of these.
type session struct {
	net.Conn
	secrets       bytes.Buffer // in the form of NSS key logs
	sent, arrived bytes.Buffer // in the handshake
	tls           *tls.Conn
}

// Read implements net.Conn.
func (s *session) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.arrived.Write(p[:n])
	return n, err
}

// Write implements net.Conn.
func (s *session) Write(p []byte) (int, error) {
	s.sent.Write(p)
	return s.Conn.Write(p)
}

func (g *gateway) handshake(t *testing.T, version, suite uint16) *session {
	t.Helper()
	c := (&gateway{plain: g.secure}).dial(t, "in the clear", "")
	s := &session{Conn: c.Conn}
	s.tls = tls.Client(s, &tls.Config{
		RootCAs: g.ca.Pool, ServerName: "h", MinVersion: version, MaxVersion: version, KeyLogWriter: &s.secrets,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err := s.tls.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.tls.ConnectionState().CipherSuite; got != suite {
		t.Skipf("the two agree on %s, which this test does not speak", tls.CipherSuiteName(got))
	}
	return s
}

// secret is one of the handshake's.
func (s *session) secret(label string) []byte {
	for line := range strings.Lines(s.secrets.String()) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == label {
			secret, _ := hex.DecodeString(words[2])
			return secret
		}
	}
	return nil
}

func gcm(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// expand is HKDF-Expand-Label (RFC 8446 section 7.1).
func expand(t *testing.T, secret []byte, label string, n int) []byte {
	t.Helper()
	info := string([]byte{0, byte(n), byte(len("tls13 " + label))}) + "tls13 " + label + "\x00"
	out, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ended waits until the gateway has hung up, and not for a timeout.
func (s *session) ended(t *testing.T) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(5 * time.Second)) // a header would have twice as long
	for {
		if _, err := s.Conn.Read(make([]byte, 4096)); err != nil {
			if timeout, is := err.(net.Error); is && timeout.Timeout() {
				t.Error("the connection was not ended")
			}
			return
		}
	}
}

// handshakes are messages of the handshake where it is over.
var handshakes = []struct {
	name string
	is   outcome
	run  func(t *testing.T, g *gateway)
}{
	{"flood of KeyUpdate", refused, keyUpdates},
	{"KeyUpdate, and a request", normal, keyUpdate},
	{"renegotiation", refused, renegotiate},
}

func TestTLS(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "", nil)
	for _, tt := range handshakes {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, g) })
	}
}

func keyUpdates(t *testing.T, g *gateway) {
	t.Helper()
	before := g.moment()
	s := g.handshake(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	secret := s.secret("CLIENT_TRAFFIC_SECRET_0")
	var flood bytes.Buffer
	for range 10_000 { // each asks for one in return, and changes the key
		header := []byte{23, 3, 3, 0, 6 + 16}
		flood.Write(header)
		flood.Write(gcm(t, expand(t, secret, "key", 16)).Seal(nil, expand(t, secret, "iv", 12), []byte{24, 0, 0, 1, 1, 22}, header))
		secret = expand(t, secret, "traffic upd", 32)
	}
	go func() { _, _ = s.Conn.Write(flood.Bytes()) }()
	s.ended(t)
	g.judge(t, before, "", "")
}

func keyUpdate(t *testing.T, g *gateway) {
	t.Helper()
	before := g.moment()
	s := g.handshake(t, tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256)
	secret := s.secret("CLIENT_TRAFFIC_SECRET_0")
	seal := func(kind byte, text string) {
		plain := append([]byte(text), kind)
		header := []byte{23, 3, 3, 0, byte(len(plain) + 16)}
		_, _ = s.Conn.Write(append(header, gcm(t, expand(t, secret, "key", 16)).Seal(nil, expand(t, secret, "iv", 12), plain, header)...))
	}
	seal(22, "\x18\x00\x00\x01\x00")
	secret = expand(t, secret, "traffic upd", 32)
	seal(23, tail)
	if got, err := io.ReadAll(s.tls); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") {
		t.Errorf("got %q, %v", got, err)
	}
	g.judge(t, before, "GET /tail", "")
}

func renegotiate(t *testing.T, g *gateway) {
	t.Helper()
	before := g.moment()
	s := g.handshake(t, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	hello := s.sent.Bytes()[5 : 5+binary.BigEndian.Uint16(s.sent.Bytes()[3:])]
	ours, theirs := hello[6:38], s.arrived.Bytes()[5+6:5+38] // the random of ClientHello and ServerHello
	seed := append(append([]byte("key expansion"), theirs...), ours...)
	var keys []byte
	mac := func(parts ...[]byte) []byte {
		h := hmac.New(sha256.New, s.secret("CLIENT_RANDOM"))
		for _, p := range parts {
			_, _ = h.Write(p)
		}
		return h.Sum(nil)
	}
	for a := mac(seed); len(keys) < 40; a = mac(a) { // RFC 5246 section 5
		keys = append(keys, mac(a, seed)...)
	}
	sequence := []byte{0, 0, 0, 0, 0, 0, 0, 1} // 0 was Finished
	head := []byte{22, 3, 3, byte(len(hello) >> 8), byte(len(hello))}
	sealed := gcm(t, keys[:16]).Seal(nil, append(bytes.Clone(keys[32:36]), sequence...), hello, append(bytes.Clone(sequence), head...))
	binary.BigEndian.PutUint16(head[3:], uint16(len(sequence)+len(sealed)))
	_, _ = s.Conn.Write(append(append(head, sequence...), sealed...))
	_, err := s.tls.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "unexpected message") { // and not that the record could not be read
		t.Errorf("it was answered %v", err)
	}
	g.judge(t, before, "", "")
}
