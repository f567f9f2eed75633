package h2

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// header is that of a frame (RFC 9113 section 4.1).
type header struct {
	length int
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
}

const headerSize = 9

// frames finds the headers of frames in a stream of bytes that comes in pieces.
type frames struct {
	preface int // bytes to come before the first frame
	raw     [headerSize]byte
	got     int
	left    int // of the payload
}

func (f *frames) feed(p []byte, found func(header)) {
	if skip := min(f.preface, len(p)); skip > 0 {
		f.preface -= skip
		p = p[skip:]
	}
	for len(p) > 0 {
		if skip := min(f.left, len(p)); skip > 0 {
			f.left -= skip
			p = p[skip:]
			continue
		}
		n := copy(f.raw[f.got:], p)
		f.got += n
		p = p[n:]
		if f.got < headerSize {
			return
		}
		f.got = 0
		h := header{
			length: int(f.raw[0])<<16 | int(f.raw[1])<<8 | int(f.raw[2]), kind: http2.FrameType(f.raw[3]), flags: http2.Flags(f.raw[4]),
			stream: binary.BigEndian.Uint32(f.raw[5:]) & (1<<31 - 1),
		}
		f.left = h.length
		found(h)
	}
}

// within reports whether a frame has begun and not ended.
func (f *frames) within() bool { return f.got > 0 || f.left > 0 }

// The most a client may send within a period, per connection.
const (
	period       = 10 * time.Second
	mostResets   = 100  // and only if it resets more than half of the streams it opens: a client may change its mind
	mostPings    = 100  // that follow no answer of ours: gRPC measures the path with a ping for each piece it gets
	mostSettings = 100  //
	mostEmpty    = 100  // DATA frames without data that end nothing
	mostOther    = 1000 // PRIORITY, and frames of types nobody knows
)

// meter counts the frames that cost a server something and their sender nothing (CVE-2019-9512, 9515, 9518; CVE-2023-44487). What
// is more than a request may need is bounded elsewhere: header blocks, with their CONTINUATION, by size, and streams by number.
type meter struct {
	answered atomic.Bool // we sent an answer, or a part of one, since the last ping
	since    time.Time
	last     uint32 // stream
	flood    string // why the connection is to end; empty: not

	opened, resets, pings, settings, empty, other int
}

func (m *meter) came(h header, now time.Time) {
	if now.Sub(m.since) > period {
		m.since = now
		m.opened, m.resets, m.pings, m.settings, m.empty, m.other = 0, 0, 0, 0, 0, 0
	}
	switch h.kind {
	case http2.FrameHeaders:
		if h.stream > m.last { // trailers are HEADERS too
			m.last = h.stream
			m.opened++
		}
	case http2.FrameRSTStream:
		if m.resets++; m.resets > mostResets && m.resets > m.opened/2 {
			m.flood = "http2_reset_flood"
		}
	case http2.FramePing:
		if h.flags.Has(http2.FlagPingAck) || m.answered.Swap(false) {
			return
		}
		if m.pings++; m.pings > mostPings {
			m.flood = "http2_ping_flood"
		}
	case http2.FrameSettings:
		if m.settings++; m.settings > mostSettings {
			m.flood = "http2_settings_flood"
		}
	case http2.FrameData:
		if h.length == 0 && !h.flags.Has(http2.FlagDataEndStream) {
			if m.empty++; m.empty > mostEmpty {
				m.flood = "http2_empty_flood"
			}
		}
	case http2.FrameWindowUpdate, http2.FrameContinuation, http2.FrameGoAway, http2.FramePushPromise:
	default:
		if m.other++; m.other > mostOther {
			m.flood = "http2_frame_flood"
		}
	}
}
