package redisstate

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed reports.lua
	reportsText   string
	reportsScript = newScript(reportsText)
)

// What gateways say of themselves. A gateway that ended without a word is listed for reportCounts more. The bounds keep whoever can
// write to Redis from filling the memory of those who read: all reports together are below 600 KiB.
const (
	reportCounts = 20 * time.Second
	mostReports  = 256
	mostName     = 128  // bytes
	mostReport   = 2048 // bytes
)

// ErrCrowded says that more gateways report than are compared with each other.
var ErrCrowded = fmt.Errorf("more than %d gateways of the environment report, so many are not compared", mostReports)

var errReports = errors.New("what Redis answers is no list of reports")

// Exchange keeps what this gateway says of itself for 20 s, and calls each with what the gateways of the environment have said, this
// one included: their names, in no order, how long ago, and the text, which anybody who can write to Redis may have written. It returns
// how many entries are larger than a report may be, and were passed over.
func (c *Client) Exchange(ctx context.Context, own []byte, each func(instance string, age time.Duration, report []byte)) (refused int, err error) {
	if len(own) > mostReport || len(c.instance) > mostName {
		return 0, fmt.Errorf("the report of %.64q has %d bytes, at most %d are taken", c.instance, len(own), mostReport)
	}
	var list []string
	err = c.admin(ctx, func(ctx context.Context) (err error) {
		list, err = texts(ctx, c.rdb, reportsScript, c.reportsKey(), c.instance, own, reportCounts.Milliseconds(), mostReports, mostName, mostReport)
		return err
	})
	switch {
	case err != nil:
		return 0, err
	case len(list) == 1 && list[0] == "crowded":
		return 0, ErrCrowded
	case len(list)%3 != 1 || len(list) > 1+3*(mostReports+1):
		return 0, errReports
	}
	if refused, err = strconv.Atoi(list[0]); err != nil || refused < 0 {
		return 0, errReports
	}
	for i := 1; i < len(list); i += 3 {
		ms, err := strconv.ParseInt(list[i+1], 10, 64)
		if err != nil || ms < 0 || ms > reportCounts.Milliseconds() || len(list[i]) > mostName || len(list[i+2]) > mostReport {
			return 0, errReports
		}
		each(list[i], time.Duration(ms)*time.Millisecond, []byte(list[i+2]))
	}
	return refused, nil
}

// withdraw takes back what this gateway said of itself.
func (c *Client) withdraw(ctx context.Context) {
	_ = c.rdb.HDel(ctx, c.reportsKey(), c.instance).Err() // else it goes away after reportCounts
}

// reportsKey is the hash of what the gateways of this environment say of themselves.
func (c *Client) reportsKey() string { return "gw:fleet:" + c.env }

// texts runs a script that answers a list of texts.
func texts(ctx context.Context, rdb redis.UniversalClient, s *script, key string, args ...any) (list []string, err error) {
	for _, whole := range []bool{false, true} {
		command, text := s.words(whole)
		cmd := redis.NewStringSliceCmd(ctx, append([]any{command, text, 1, key}, args...)...)
		cmd.SetFirstKeyPos(3)
		_ = rdb.Process(ctx, once{cmd}) // cmd holds the error
		if list, err = cmd.Result(); !unknown(err) {
			break
		}
	}
	return list, err
}
