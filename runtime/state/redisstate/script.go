package redisstate

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"

	"github.com/redis/go-redis/v9"
)

// The scripts. Each is sent by its digest, and whole only to a server that does not know it: one that was restarted, or told to
// forget (SCRIPT FLUSH). Such a server has not run anything, so that it may be asked again.
var (
	//go:embed take.lua
	takeText string
	//go:embed beat.lua
	beatText string
	//go:embed swap.lua
	swapText string

	takeScript = newScript(takeText)
	beatScript = newScript(beatText)
	swapScript = newScript(swapText)
)

type script struct{ text, digest string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text)) // by which Redis knows scripts; nothing rests on it
	return &script{text, hex.EncodeToString(sum[:])}
}

// words are how a script is named in a command: by its digest, or whole.
func (s *script) words(whole bool) (command, text string) {
	if whole {
		return "eval", s.text
	}
	return "evalsha", s.digest
}

// unknown reports whether the server did not know a script by its digest.
func unknown(err error) bool { return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") }

// number runs a script that answers one number.
func (s *script) number(ctx context.Context, rdb redis.UniversalClient, key string, args ...any) (n int64, err error) {
	for _, whole := range []bool{false, true} {
		command, text := s.words(whole)
		cmd := redis.NewIntCmd(ctx, append([]any{command, text, 1, key}, args...)...)
		cmd.SetFirstKeyPos(3)
		_ = rdb.Process(ctx, once{cmd}) // cmd holds the error
		if n, err = cmd.Result(); !unknown(err) {
			break
		}
	}
	return n, err
}
