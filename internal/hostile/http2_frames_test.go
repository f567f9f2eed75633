package hostile_test

import (
	"errors"
	"strings"

	"golang.org/x/net/http2"
)

// frameInputs are about frames, and the state of streams and connection.
var frameInputs = []input2{
	{name: "HEADERS over the frame size", send: raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, strings.Repeat("\x82", 16<<10+1)), want: frameSize},
	{name: "DATA over the frame size", send: func(f *frames) error {
		return errors.Join(f.headers(1, sends("/x"), false), f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16<<10+1)))
	}, want: frameSize, open: "POST /x (cut)?"},
	{name: "frame of 16 MiB that is announced", send: func(f *frames) error {
		_, err := f.Write([]byte{0xff, 0xff, 0xff, byte(http2.FrameData), 0, 0, 0, 0, 1})
		return err
	}, want: frameSize},
	{name: "index beyond the table", send: block("\xff\x7f"), want: compression},
	{name: "index 0", send: block("\x80"), want: compression},
	{name: "index that never ends", send: block("\xff" + strings.Repeat("\xff", 100)), want: compression},
	{name: "string longer than its block", send: block("\x82\x86\x40\x7f\xff\xff\xff\x07x"), want: compression},
	{name: "table of more than 4 KiB", send: block("\x3f\xe2\x1f\x82\x86\x84"), want: compression},
	{name: "table size in the middle of a block", send: block("\x82\x86\x84\x41\x01h\x20"), want: compression},
	{name: "padding longer than its frame", send: func(f *frames) error {
		return errors.Join(f.headers(1, sends("/x"), false), f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{5, 'x'}))
	}, want: goaway, open: "POST /x (cut)?"},
	{name: "stream with an even number", send: func(f *frames) error { return f.headers(2, asks("/x"), true) }, want: goaway},
	{name: "HEADERS on stream 0", send: func(f *frames) error { return f.headers(0, asks("/x"), true) }, want: goaway},
	{name: "DATA on stream 0", send: raw(http2.FrameData, 0, 0, "x"), want: goaway},
	{name: "DATA on a stream that was never opened", send: raw(http2.FrameData, 0, 1, "x"), want: goaway},
	{name: "CONTINUATION without HEADERS", send: raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, "\x82"), want: goaway},
	{name: "PING within a header block", send: func(f *frames) error {
		return errors.Join(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(asks("/x"))}), f.WritePing(false, [8]byte{}))
	}, want: goaway},
	{name: "CONTINUATION of another stream", send: func(f *frames) error {
		return errors.Join(f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(asks("/x"))}), f.WriteContinuation(3, true, nil))
	}, want: goaway},
	{name: "SETTINGS of 5 bytes", send: raw(http2.FrameSettings, 0, 0, "\x00\x01\x00\x00\x00"), want: frameSize},
	{name: "SETTINGS on a stream", send: raw(http2.FrameSettings, 0, 1, ""), want: goaway},
	{name: "SETTINGS with a window of 2^31", send: raw(http2.FrameSettings, 0, 0, "\x00\x04\x80\x00\x00\x00"), want: "GOAWAY FLOW_CONTROL_ERROR"},
	{name: "SETTINGS with frames of 1 byte", send: raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x01"), want: goaway},
	{name: "PING of 7 bytes", send: raw(http2.FramePing, 0, 0, "1234567"), want: frameSize},
	{name: "PUSH_PROMISE of a client", send: raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, "\x00\x00\x00\x02\x82"), want: goaway},
	{name: "WINDOW_UPDATE by 0", send: raw(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x00\x00"), want: goaway},
	{name: "window of more than 2^31 - 1", send: raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"), want: "GOAWAY FLOW_CONTROL_ERROR"},
	{name: "WINDOW_UPDATE by 0 of a stream", send: func(f *frames) error {
		return errors.Join(f.headers(1, asks("/silent"), true), f.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4)))
	}, want: reset, open: "GET /silent (cut)?"},
	{name: "window of a stream of more than 2^31 - 1", send: func(f *frames) error {
		return errors.Join(f.headers(1, asks("/silent"), true), f.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, []byte{0x7f, 0xff, 0xff, 0xff}))
	}, want: "RST FLOW_CONTROL_ERROR", open: "GET /silent (cut)?"},
	{name: "DATA on a stream that has ended", send: func(f *frames) error {
		return errors.Join(f.headers(1, asks("/silent"), true), f.WriteData(1, true, []byte("GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")))
	}, want: "RST STREAM_CLOSED", open: "GET /silent (cut)?"},
	{name: "HEADERS on a stream that has ended", send: func(f *frames) error {
		return errors.Join(f.headers(1, asks("/silent"), true), f.headers(1, asks("/smuggled"), true))
	}, want: "RST STREAM_CLOSED", open: "GET /silent (cut)?"},
	{name: "stream that depends on itself", send: func(f *frames) error {
		return f.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 1, BlockFragment: f.encode(asks("/x")), EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: 1, Weight: 1},
		})
	}, want: reset},
	{name: "frame of an unknown type", is: normal, send: func(f *frames) error {
		return errors.Join(f.WriteRawFrame(0xee, 0xff, 1, []byte("x")), f.headers(1, asks("/x"), true))
	}, want: "200", open: "GET /x"},
}
