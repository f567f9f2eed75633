package bundle

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestChannelsThatSayTheWrongThing(t *testing.T) {
	w := newWorld(t)
	for name, edit := range map[string]func(*Channel){
		"version 0":                    func(c *Channel) { c.Version = 0 },
		"epoch 0":                      func(c *Channel) { c.Epoch = 0 },
		"negative version":             func(c *Channel) { c.Version = -1 },
		"last version there is":        func(c *Channel) { c.Version = math.MaxInt64 },
		"last epoch there is":          func(c *Channel) { c.Epoch = math.MaxInt64 },
		"first that follows something": func(c *Channel) { c.Version = 1 },
		"expires when issued":          func(c *Channel) { c.ExpiresAt = c.IssuedAt },
		"environment that is a path":   func(c *Channel) { c.Environment = "../prod" },
		"no name":                      func(c *Channel) { c.Name = "" },
		"name with a line break":       func(c *Channel) { c.Name = "shop\n" },
		"hold without a reason":        func(c *Channel) { c.Hold = &Hold{By: "ana"} },
		"hold with a control":          func(c *Channel) { c.Hold = &Hold{Reason: "\x1b[2J"} },
		"previous of no digest":        func(c *Channel) { c.Previous = "1.6" },
		"replaces itself":              func(c *Channel) { c.Replaces = c.Manifest.Digest },
		"replaces of no digest":        func(c *Channel) { c.Replaces = "sha256:" },
		"manifest without a size":      func(c *Channel) { c.Manifest.Size = 0 },
		"manifest of any size":         func(c *Channel) { c.Manifest.Size = MaxManifest + 1 },
		"manifest of no digest":        func(c *Channel) { c.Manifest.Digest = "latest" },
	} {
		c := w.channelDoc
		c.Schema = ChannelSchema
		edit(&c)
		if _, err := SignChannel(c, w.channel); err == nil {
			t.Errorf("%s: was signed", name)
		}
		envelope := seal(t, channelType, must(Canonical(c))(t), w.channel)
		if _, _, err := VerifyChannel(envelope, Check{Trust: w.trust, Now: now}); refusal(err) != ChannelMalformed {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := PeekChannel(envelope); refusal(err) != ChannelMalformed {
			t.Errorf("%s: PeekChannel: %v", name, err)
		}
	}
	c := w.channelDoc
	c.Schema = "gateway.suuupra.dev/channel/v2"
	if _, _, err := VerifyChannel(seal(t, channelType, must(Canonical(c))(t), w.channel), w.check()); refusal(err) != UnknownSchema {
		t.Errorf("another schema: %v", err)
	}
}

func TestTimeHasOneSpelling(t *testing.T) {
	w := newWorld(t)
	c := w.channelDoc
	c.Schema = ChannelSchema
	good := string(must(Canonical(c))(t))
	stamp := c.ExpiresAt.Format(timeLayout)
	for _, other := range []string{
		strings.Replace(stamp, "Z", "+00:00", 1), strings.Replace(stamp, "Z", ".0Z", 1), strings.ToLower(stamp),
		strings.Replace(stamp, "T", " ", 1), "2026-11-23T24:00:00Z", "2026-02-30T00:00:00Z", "12026-11-23T13:00:00Z", "",
	} {
		envelope := seal(t, channelType, []byte(strings.Replace(good, stamp, other, 1)), w.channel)
		if _, _, err := VerifyChannel(envelope, w.check()); refusal(err) != ChannelMalformed {
			t.Errorf("%q: %v", other, err)
		}
	}
	if got := TimeOf(time.Date(2026, 1, 2, 3, 4, 5, 999, time.FixedZone("", 3600))); string(must(Canonical(got))(t)) != `"2026-01-02T02:04:05Z"` {
		t.Errorf("TimeOf = %s", got)
	}
}

// TestChannelFitsItsLimit: even with everything in it and every signature there may be.
func TestChannelFitsItsLimit(t *testing.T) {
	w := newWorld(t)
	c := w.channelDoc
	c.Name, c.Hold = strings.Repeat("n", maxName), &Hold{Reason: strings.Repeat("r", maxName), By: strings.Repeat("b", maxName)}
	c.Replaces = DigestOf(nil)
	signers := make([]Signer, maxSignatures+1)
	for i := range signers {
		signers[i] = testKey(t, Ed25519)
	}
	if data, err := SignChannel(c, signers[1:]...); err != nil || len(data) > MaxChannel/2 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if _, err := SignChannel(c, signers...); err == nil || !strings.Contains(err.Error(), "more than 16 signatures") {
		t.Errorf("too many signers: %v", err)
	}
}
