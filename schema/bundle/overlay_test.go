package bundle

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func testOverlay() Overlay {
	return Overlay{
		ID: "inc-42", Name: "shop", Environment: "prod", Base: DigestOf([]byte("base")), Strategy: GitWins, Reason: "ticket 42", By: "ada",
		IssuedAt: TimeOf(now), ExpiresAt: TimeOf(now.Add(time.Hour)), Patch: "routes: []\n",
		Changes: []Change{
			{Kind: KindUpstreams, ID: "users", Before: json.RawMessage(`{"id":"users"}`)},
			{Kind: KindRoutes, ID: "users", Before: json.RawMessage(`{"id":"users"}`), After: json.RawMessage(`{"b":1, "id":"users"}`)},
		},
	}
}

func TestOverlay(t *testing.T) {
	ada, release := testKey(t, Ed25519), testKey(t, Ed25519)
	trust := testTrust(t, nil, trustKey(t, ada, RoleOverlay, "prod"), trustKey(t, release, RoleRelease))
	signed := func(change func(*Overlay), s Signer) []byte {
		o := testOverlay()
		change(&o)
		return must(SignOverlay(o, s))(t)
	}
	same := func(*Overlay) {}
	check := Check{Trust: trust, Environment: "prod", Name: "shop", Now: now}

	data := signed(same, ada)
	got, key, err := VerifyOverlay(data, check)
	if err != nil || key != ada.Public().ID() || got.ID != "inc-42" || got.Changes[0].Kind != KindRoutes || string(got.Changes[0].After) != `{"b":1,"id":"users"}` {
		t.Errorf("a good one: %+v by %s, %v", got, key, err)
	}
	if o, err := PeekOverlay(data); err != nil || o.ID != "inc-42" {
		t.Errorf("it says %+v, %v", o, err)
	}
	twice := must(must(decodeEnvelope(data, overlayType, MaxOverlay))(t).sign(release))(t)

	for name, c := range map[string]struct {
		data []byte
		now  time.Time
		want Reason
	}{
		"a release key":         {signed(same, release), now, KeyNotAllowed},
		"a stranger's key":      {signed(same, testKey(t, Ed25519)), now, KeyUnknown},
		"another environment":   {signed(func(o *Overlay) { o.Environment = "staging" }, ada), now, WrongEnvironment},
		"another repository":    {signed(func(o *Overlay) { o.Name = "shop2" }, ada), now, WrongName},
		"expired to the second": {data, now.Add(time.Hour), OverlayExpired},
		"without a clock":       {data, time.Time{}, OverlayExpired},
		"from the future": {signed(func(o *Overlay) {
			o.IssuedAt, o.ExpiresAt = TimeOf(now.Add(6*time.Minute)), TimeOf(now.Add(time.Hour))
		}, ada), now, OverlayMalformed},
		"two signatures":  {twice.encode(), now, EnvelopeMalformed},
		"an approval":     {must(SignApproval(testApproval(), ada))(t), now, PayloadType},
		"one bit":         {flipped(data), now, SignatureInvalid},
		"longer than any": {[]byte(strings.Repeat("x", MaxOverlay+1)), now, TooLarge},
		"nothing":         {nil, now, EnvelopeMalformed},
		"nobody's":        {[]byte(`{"payload":"e30=","payloadType":"` + overlayType + `","signatures":[]}`), now, SignatureMissing},
	} {
		check.Now = c.now
		if _, _, err := VerifyOverlay(c.data, check); refusal(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestOverlayRefusesNonsense(t *testing.T) {
	key := testKey(t, Ed25519)
	for name, c := range map[string]struct {
		change func(*Overlay)
		want   string
	}{
		"a path as id":     {func(o *Overlay) { o.ID = "../x" }, `id "../x" must be 1 to 63`},
		"no strategy":      {func(o *Overlay) { o.Strategy = "" }, `strategy ""`},
		"no base":          {func(o *Overlay) { o.Base = "" }, "base: "},
		"no reason":        {func(o *Overlay) { o.Reason = "" }, "reason must be 1 to 256 bytes"},
		"a line in by":     {func(o *Overlay) { o.By = "a\nb" }, "holds a control character"},
		"no time":          {func(o *Overlay) { o.ExpiresAt = o.IssuedAt }, "before it was issued"},
		"for ever":         {func(o *Overlay) { o.ExpiresAt = TimeOf(now.Add(MaxOverlayLifetime + time.Second)) }, "at most 168h0m0s are allowed"},
		"no change":        {func(o *Overlay) { o.Changes = nil }, "it changes nothing"},
		"the gateway":      {func(o *Overlay) { o.Changes[0].Kind = KindGateway }, `it changes "gateway"; overlays are for routes and upstreams`},
		"a change of none": {func(o *Overlay) { o.Changes[0].Before = nil }, "upstreams/users is neither before nor after"},
		"null":             {func(o *Overlay) { o.Changes[0].Before = json.RawMessage("null") }, "upstreams/users is null, must be an object"},
		"no difference":    {func(o *Overlay) { o.Changes[0].After = o.Changes[0].Before }, "is the same before and after"},
		"an object twice":  {func(o *Overlay) { o.Changes = append(o.Changes, o.Changes[0]) }, "each object named once"},
		"too long a patch": {func(o *Overlay) { o.Patch = strings.Repeat("#", 32<<10+1) }, "its patch has 32769 bytes"},
		"too many changes": {func(o *Overlay) {
			for i := range 256 {
				o.Changes = append(o.Changes, Change{Kind: KindRoutes, ID: fmt.Sprint("r", i), After: json.RawMessage(`{}`)})
			}
		}, "it changes 258 objects"},
		"too large an object": {func(o *Overlay) {
			o.Changes[0].After = json.RawMessage(`{"x":"` + strings.Repeat("x", MaxOverlay) + `"}`)
		}, "at most 262144 are allowed"},
	} {
		o := testOverlay()
		c.change(&o)
		if _, err := SignOverlay(o, key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
