package sink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/suuupra/gateway/internal/audit"
)

// remote is a syslog server that takes RFC 5424 messages. Syslog has no acknowledgement: what was handed to a connection that then
// breaks may be lost without a count. A connection that the server closed is not used again.
type remote struct {
	network   string // udp, tcp or tls
	address   string
	tls       *tls.Config
	app, host string
	conn      net.Conn
	gone      chan struct{} // closed when the server has closed the connection
}

// logAudit is the facility of RFC 5424, table 1, for audit messages.
const logAudit = 13

var severities = map[audit.Outcome]int{audit.Success: 5, audit.Refused: 4, audit.Failed: 3} // notice, warning, error

// message is the record as RFC 5424 has it: the action as MSGID, the line of the trail as MSG. There is no BOM, which many receivers
// take for a part of the JSON; RFC 5424 allows MSG-ANY.
func (s *remote) message(e *audit.Entry, line []byte) []byte {
	b := fmt.Appendf(nil, "<%d>1 %s %s %s - %s - ", logAudit*8+severities[e.Outcome], e.Time, s.host, s.app, header(string(e.Action), "-", 32))
	return append(b, line...)
}

// header makes a field of the header: printable ASCII without spaces.
func header(s, empty string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return empty
	}
	return s[:min(len(s), limit)]
}

func (s *remote) write(ctx context.Context, e *audit.Entry, line []byte) error {
	text := s.message(e, line)
	if s.network != "udp" { // octet counting, RFC 6587 section 3.4.1 and RFC 5425 section 4.3
		text = append(append(strconv.AppendInt(nil, int64(len(text)), 10), ' '), text...)
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	err := s.conn.SetWriteDeadline(deadline)
	if err == nil {
		conn := s.conn
		stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) }) // ends the write
		_, err = conn.Write(text)
		stop()
	}
	if s.network == "udp" && errors.Is(err, syscall.EMSGSIZE) {
		return errUnfit
	}
	if err != nil {
		s.close() // half a frame may be out: the next needs a new connection
	}
	return err
}

// connect dials, unless there is a connection that is still good.
func (s *remote) connect(ctx context.Context) error {
	select {
	case <-s.gone:
		s.close()
	default:
	}
	if s.conn != nil {
		return nil
	}
	var conn net.Conn
	var err error
	dialer := &net.Dialer{}
	if s.network == "tls" {
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: s.tls}).DialContext(ctx, "tcp", s.address)
	} else {
		conn, err = dialer.DialContext(ctx, s.network, s.address)
	}
	if err != nil {
		return err
	}
	s.conn, s.gone = conn, make(chan struct{})
	if s.network != "udp" {
		go watch(conn, s.gone)
	}
	return nil
}

// watch reads until the connection ends, and closes it, so that nothing more is written to it. Servers send nothing: what comes is
// thrown away.
func watch(conn net.Conn, gone chan struct{}) {
	defer close(gone)
	defer func() { _ = conn.Close() }() // there is nothing to be done about it
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

func (s *remote) close() {
	if s.conn == nil {
		return
	}
	_ = s.conn.Close() // it may be closed already
	if s.network != "udp" {
		<-s.gone
	}
	s.conn, s.gone = nil, nil
}
