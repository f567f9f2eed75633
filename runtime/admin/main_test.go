package admin

import (
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }
