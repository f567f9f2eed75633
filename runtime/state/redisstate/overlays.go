package redisstate

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/suuupra/gateway/runtime/overlays"
	"github.com/suuupra/gateway/schema/bundle"
)

var (
	//go:embed overlays.lua
	overlaySwapText   string
	overlaySwapScript = newScript(overlaySwapText)

	//go:embed overlaylist.lua
	overlayListText   string
	overlayListScript = newScript(overlayListText)
)

// mostOverlays is how many entries are read: more than may be active, as some may have ended.
const mostOverlays = 4 * bundle.MaxOverlays

var (
	errOverlays     = errors.New("what Redis answers is no list of overlays")
	errOverlayCrowd = fmt.Errorf("there are more than %d overlays of the environment in Redis, so many are not read", mostOverlays)
)

// Overlays implements overlays.Shared. What it returns, anybody who can write to Redis may have written.
func (c *Client) Overlays(ctx context.Context) (map[string][]byte, error) {
	var list []string
	err := c.admin(ctx, func(ctx context.Context) (err error) {
		list, err = texts(ctx, c.rdb, overlayListScript, c.overlaysKey(), mostOverlays, bundle.MaxOverlay)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 1 && list[0] == "crowded":
		return nil, errOverlayCrowd
	case len(list)%2 != 1 || len(list) > 1+2*mostOverlays:
		return nil, errOverlays
	}
	out := map[string][]byte{}
	for i := 1; i < len(list); i += 2 {
		if len(list[i+1]) > bundle.MaxOverlay {
			return nil, errOverlays
		}
		out[list[i]] = []byte(list[i+1])
	}
	return out, nil
}

// SwapOverlay implements overlays.Shared.
func (c *Client) SwapOverlay(ctx context.Context, id string, before, next []byte, until time.Time) (bool, error) {
	lasts := max(time.Until(until), time.Second).Milliseconds()
	var n int64
	err := c.admin(ctx, func(ctx context.Context) (err error) {
		n, err = overlaySwapScript.number(ctx, c.rdb, c.overlaysKey(), id, before, next, lasts, bundle.MaxOverlays)
		return err
	})
	if err == nil && n == 2 {
		err = overlays.ErrFull
	}
	return n == 1, err
}

// overlaysKey is the hash of the overlays of this environment.
func (c *Client) overlaysKey() string { return "gw:overlays:" + c.env }
