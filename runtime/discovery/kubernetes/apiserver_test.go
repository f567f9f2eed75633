//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/apiserver"
	"github.com/suuupra/gateway/runtime/discovery"
	"github.com/suuupra/gateway/runtime/discovery/kubernetes"
)

// within waits for endpoints and holds the time it takes.
func within(t *testing.T, w *discovery.Watch, what string, limit time.Duration, want string) {
	t.Helper()
	start := time.Now()
	becomes(t, w, want)
	took := time.Since(start)
	t.Logf("%s: %v", what, took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("%s: took %v, must take no more than %v", what, took, limit)
	}
}

func (c *cluster) create(list ...*discoveryv1.EndpointSlice) {
	c.t.Helper()
	for _, s := range list {
		_, err := c.DiscoveryV1().EndpointSlices("shop").Create(c.t.Context(), s, metav1.CreateOptions{})
		c.Must(err)
	}
}

// version is the API server's own count.
func (c *cluster) version() int {
	c.t.Helper()
	list, err := c.DiscoveryV1().EndpointSlices("shop").List(c.t.Context(), metav1.ListOptions{})
	c.Must(err)
	n, err := strconv.Atoi(list.ResourceVersion)
	c.Must(err)
	return n
}

// TestAPIServer follows a service through the life of a real API server and its etcd. `make kubernetes` runs it.
func TestAPIServer(t *testing.T) {
	kubernetes.Hasten(15*time.Second, time.Second) // no faster than in production
	start := time.Now()
	c := newCluster(t)
	t.Logf("ready: %v", time.Since(start).Round(time.Millisecond))
	c.furnish()
	slicesOf := c.DiscoveryV1().EndpointSlices("shop")
	w, log := follow(t, c.Kubeconfig(apiserver.GatewayToken))
	select {
	case <-w.Known():
	case <-time.After(10 * time.Second):
		t.Fatalf("it never answers: %+v", w.Status())
	}

	t.Run("changes", func(t *testing.T) {
		c.create(slice("a", at("10.0.0.1")))
		within(t, w, "created", 2*time.Second, "10.0.0.1:8080")
		second, _ := follow(t, c.Kubeconfig(apiserver.GatewayToken))
		within(t, second, "found by one that begins later", 2*time.Second, "10.0.0.1:8080")
		c.create(slice("b", at("10.0.0.2")))
		within(t, w, "another created", 2*time.Second, "10.0.0.1:8080 10.0.0.2:8080")
		terminating := at("10.0.0.2")
		no := false
		terminating.Conditions.Ready = &no
		_, err := slicesOf.Update(t.Context(), slice("b", terminating, at("10.0.0.3")), metav1.UpdateOptions{})
		c.Must(err)
		within(t, w, "updated", 2*time.Second, "10.0.0.1:8080 10.0.0.3:8080")
		other := slice("other", at("10.9.9.9"))
		other.Labels[discoveryv1.LabelServiceName] = "another"
		c.create(other)
		c.Must(slicesOf.Delete(t.Context(), "b", metav1.DeleteOptions{}))
		within(t, w, "deleted", 2*time.Second, "10.0.0.1:8080")
		c.Must(slicesOf.Delete(t.Context(), "a", metav1.DeleteOptions{}))
		within(t, w, "the last deleted", 2*time.Second, "")
	})

	t.Run("a thousand endpoints", func(t *testing.T) {
		var all []string
		for s := range 10 {
			var list []discoveryv1.Endpoint
			for e := range 100 {
				address := fmt.Sprintf("10.1.%d.%d", s, e)
				list, all = append(list, at(address)), append(all, address+":8080")
			}
			c.create(slice(fmt.Sprint("many-", s), list...))
		}
		slices.Sort(all)
		within(t, w, "created", 2*time.Second, strings.Join(all, " "))
		c.Must(slicesOf.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}))
		c.create(slice("a", at("10.0.0.1")))
		within(t, w, "and deleted", 2*time.Second, "10.0.0.1:8080")
	})
	if n := w.Status().Failures + log.count("discovery failed"); n != 0 {
		t.Errorf("failures: %+v", w.Status())
	}

	t.Run("the API server is killed", func(t *testing.T) {
		c.Server.Kill()
		start := time.Now()
		testkit.Eventually(t, "it has failed three times", func() bool { return w.Status().Failures >= 3 })
		t.Logf("failed three times: %v, %s", time.Since(start).Round(time.Millisecond), w.Status().LastError)
		if got := text(w.Endpoints()); got != "10.0.0.1:8080" || log.count("discovery failed") != 1 {
			t.Errorf("left %q, told %q", got, log.lines)
		}
		start = time.Now()
		c.StartServer()
		t.Logf("ready again: %v", time.Since(start).Round(time.Millisecond))
		c.create(slice("b", at("10.0.0.2")))
		within(t, w, "a change after the restart", 10*time.Second, "10.0.0.1:8080 10.0.0.2:8080")
	})

	t.Run("etcd is wiped", func(t *testing.T) {
		for i := range 500 { // so that it takes long to count up to here again
			_, err := c.CoreV1().ConfigMaps("shop").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("m-", i)}}, metav1.CreateOptions{})
			c.Must(err)
		}
		c.create(slice("c", at("10.0.0.3")))
		within(t, w, "before", 2*time.Second, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080")
		before := c.version()
		c.Server.Kill()
		c.WipeEtcd()
		c.StartServer()
		c.furnish()
		c.create(slice("d", at("10.0.0.4")))
		within(t, w, "what is there now", 10*time.Second, "10.0.0.4:8080")
		c.create(slice("e", at("10.0.0.5")))
		within(t, w, "and a change", 2*time.Second, "10.0.0.4:8080 10.0.0.5:8080")
		if after := c.version(); after >= before {
			t.Errorf("the version went from %d to %d, which is not backwards", before, after)
		}
	})

	t.Run("an account without rights", func(t *testing.T) {
		_, err := c.CoreV1().ServiceAccounts("shop").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "nobody"}}, metav1.CreateOptions{})
		c.Must(err)
		token, err := c.CoreV1().ServiceAccounts("shop").CreateToken(t.Context(), "nobody", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		c.Must(err)
		w, log := follow(t, c.Kubeconfig(token.Status.Token))
		testkit.Eventually(t, "it is refused twice", func() bool { return w.Status().Failures >= 2 })
		if st := w.Status(); !strings.Contains(st.LastError, `User "system:serviceaccount:shop:nobody" cannot list resource "endpointslices"`) {
			t.Errorf("%+v", st)
		}
		if log.count("discovery failed") != 1 || log.count(token.Status.Token) != 0 {
			t.Errorf("told %q", log.lines)
		}
		c.bind(rbacv1.Subject{Kind: "ServiceAccount", Name: "nobody", Namespace: "shop"})
		within(t, w, "given the rights", 10*time.Second, "10.0.0.4:8080 10.0.0.5:8080")
	})
}
