package h2

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// header is that of a frame (RFC 9113 section 4.1).
type header struct {
	length int // of the payload
	kind   http2.FrameType
	flags  http2.Flags
	stream uint32
	code   http2.ErrCode // of RST_STREAM
	data   int           // of DATA: bytes of content
}

const headerSize = 9

// frames finds the headers of frames in a stream of bytes that comes in pieces.
type frames struct {
	preface int // bytes to come before the first frame
	raw     [headerSize + 4]byte
	got     int
	left    int             // of the payload
	kind    http2.FrameType // of the last frame
	block   bool            // a header block has begun, and waits for CONTINUATION
	whole   uint64          // frames that have ended, a header block counting as one
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
			f.ended()
			continue
		}
		n := copy(f.raw[f.got:f.need()], p)
		f.got += n
		p = p[n:]
		if f.got == f.need() {
			found(f.header())
			f.ended()
		}
	}
}

// need is how much of a frame is looked at: its header, the code of RST_STREAM, and how much of DATA is padding.
func (f *frames) need() int {
	if f.got < headerSize {
		return headerSize
	}
	length := int(f.raw[0])<<16 | int(f.raw[1])<<8 | int(f.raw[2])
	switch {
	case f.raw[3] == byte(http2.FrameRSTStream) && length == 4:
		return headerSize + 4
	case f.raw[3] == byte(http2.FrameData) && http2.Flags(f.raw[4]).Has(http2.FlagDataPadded) && length > 0:
		return headerSize + 1
	}
	return headerSize
}

// header reads what was looked at, and prepares for what is left of the frame.
func (f *frames) header() header {
	h := header{
		length: int(f.raw[0])<<16 | int(f.raw[1])<<8 | int(f.raw[2]), kind: http2.FrameType(f.raw[3]), flags: http2.Flags(f.raw[4]),
		stream: binary.BigEndian.Uint32(f.raw[5:]) & (1<<31 - 1),
	}
	f.left, f.kind = h.length-(f.got-headerSize), h.kind
	h.data = f.left
	switch h.kind {
	case http2.FrameRSTStream:
		h.code = http2.ErrCode(binary.BigEndian.Uint32(f.raw[headerSize:])) // of another frame if it is malformed, which ends the connection
	case http2.FrameData:
		if f.got > headerSize {
			h.data -= int(f.raw[headerSize])
		}
	case http2.FrameHeaders, http2.FrameContinuation:
		f.block = !h.flags.Has(http2.FlagHeadersEndHeaders)
	}
	f.got = 0
	return h
}

// ended counts a frame whose last byte has been seen.
func (f *frames) ended() {
	if f.left == 0 && !f.block {
		f.whole++
	}
}

// within reports whether a frame has begun and not ended.
func (f *frames) within() bool { return f.got > 0 || f.left > 0 }

// waits reports whether something has begun that no handler watches over: a header block, or a frame other than DATA, whose length
// is that of a body.
func (f *frames) waits() bool {
	return f.got > 0 || f.block || f.left > 0 && f.kind != http2.FrameData
}

// The most a client may send within a period, per connection.
const (
	period       = 10 * time.Second
	mostResets   = 100  // and only if it resets more than half of the streams it opens: a client may change its mind
	mostPings    = 100  // that follow no answer of ours: gRPC measures the path with a ping for each piece it gets
	mostSettings = 100  //
	mostEmpty    = 100  // DATA frames without data, but for padding, that end nothing
	mostOther    = 1000 // PRIORITY, and frames of types nobody knows
)

// mostBlock is the longest header block, with the headers of its frames, in bytes. The standard library bounds what a block
// unpacks to, and not how many empty CONTINUATION frames it has (CVE-2024-27316).
const mostBlock = 128 << 10

// meter counts the frames that cost a server something and their sender nothing (CVE-2019-9512, 9515, 9518; CVE-2023-44487). What
// is more than a request may need is bounded elsewhere: what header blocks unpack to by size, and streams by number.
type meter struct {
	answered atomic.Bool  // we sent an answer, or a part of one, since the last ping
	blamed   atomic.Int64 // streams that we had to reset for what the client sent on them
	since    time.Time
	last     uint32 // stream
	flood    string // why the connection is to end; empty: not

	block int // bytes of the header block that comes

	opened, resets, pings, settings, empty, other int
}

func (m *meter) came(h header, now time.Time) {
	if now.Sub(m.since) > period {
		m.since = now
		m.opened, m.resets, m.pings, m.settings, m.empty, m.other = 0, 0, 0, 0, 0, 0
		m.blamed.Store(0)
	}
	switch h.kind {
	case http2.FrameHeaders:
		if h.stream > m.last { // trailers are HEADERS too
			m.last = h.stream
			m.opened++
		}
		m.block = 0
		m.grows(h)
		m.judgeResets()
	case http2.FrameContinuation:
		m.grows(h)
	case http2.FrameRSTStream:
		m.resets++
		m.judgeResets()
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
		if h.data <= 0 && !h.flags.Has(http2.FlagDataEndStream) {
			if m.empty++; m.empty > mostEmpty {
				m.flood = "http2_empty_flood"
			}
		}
	case http2.FrameWindowUpdate, http2.FrameGoAway, http2.FramePushPromise:
	default:
		if m.other++; m.other > mostOther {
			m.flood = "http2_frame_flood"
		}
	}
}

// grows counts a part of a header block.
func (m *meter) grows(h header) {
	if m.block += headerSize + h.length; m.block > mostBlock {
		m.flood = "http2_continuation_flood"
	}
}

// judgeResets looks at the streams that the client has reset, and at those it made us reset (CVE-2025-8671).
func (m *meter) judgeResets() {
	if n := m.resets + int(m.blamed.Load()); n > mostResets && n > m.opened/2 {
		m.flood = "http2_reset_flood"
	}
}

// blame counts the resets that we send, but for those with which we tell that a response has failed, or needs no more of its request.
func (m *meter) blame(h header) {
	switch h.code {
	case http2.ErrCodeProtocol, http2.ErrCodeFlowControl, http2.ErrCodeStreamClosed, http2.ErrCodeFrameSize, http2.ErrCodeRefusedStream:
		m.blamed.Add(1)
	}
}
