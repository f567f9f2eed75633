//go:build kubernetes

package kubernetes_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/suuupra/gateway/internal/testkit"
)

// The names of tokens that the API server knows, whatever etcd holds.
const (
	adminToken   = "token-of-admin"
	gatewayToken = "token-of-gateway"
)

// built returns a program of Kubernetes, in the version of tools/kubernetes. It is built once, and kept in the user's cache.
func built(t *testing.T, program string) string {
	t.Helper()
	tools := filepath.Join(testkit.Root(t), "tools", "kubernetes")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("nice", append([]string{"-n", "10", "go"}, args...)...)
		cmd.Dir = tools
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	version := run("list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	path := filepath.Join(cache, "gateway-tests", "kubernetes-"+version+"-"+runtime.Version(), program)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	start := time.Now()
	unfinished := fmt.Sprint(path, ".", os.Getpid())
	run("build", "-ldflags=-s -w", "-o", unfinished, "k8s.io/kubernetes/cmd/"+program)
	if err := os.Rename(unfinished, path); err != nil {
		t.Fatal(err)
	}
	t.Logf("built %s %s in %v", program, version, time.Since(start).Round(time.Second))
	return path
}

// cluster is an API server and its etcd, without anything else of Kubernetes.
type cluster struct {
	t                          *testing.T
	dir, client, peer, api     string // addresses but for dir
	etcdProgram, serverProgram string
	etcd, server               *testkit.Process
	*clientset.Clientset
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		t: t, dir: t.TempDir(), client: testkit.FreePort(t), peer: testkit.FreePort(t), api: testkit.FreePort(t),
		etcdProgram: testkit.Program(t, "etcd"), serverProgram: built(t, "kube-apiserver"),
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c.write("accounts.key", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	c.write("tokens.csv", adminToken+",admin,1,system:masters\n"+gatewayToken+",gateway,2\n")
	c.startEtcd()
	c.startServer()
	return c
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func (c *cluster) startEtcd() {
	c.t.Helper()
	c.etcd = testkit.Start(c.t, testkit.Command{Path: c.etcdProgram, Args: []string{
		"--name=etcd", "--data-dir=" + filepath.Join(c.dir, "etcd"), "--listen-client-urls=http://" + c.client,
		"--advertise-client-urls=http://" + c.client, "--listen-peer-urls=http://" + c.peer,
		"--initial-advertise-peer-urls=http://" + c.peer, "--initial-cluster=etcd=http://" + c.peer,
	}})
}

// startServer starts the API server and waits until it is ready. Its certificate is made at the first start and kept.
func (c *cluster) startServer() {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.api)
	key := filepath.Join(c.dir, "accounts.key")
	c.server = testkit.Start(c.t, testkit.Command{Path: c.serverProgram, Args: []string{
		"--etcd-servers=http://" + c.client, "--bind-address=" + host, "--advertise-address=" + host, "--secure-port=" + port,
		"--cert-dir=" + filepath.Join(c.dir, "certs"), "--token-auth-file=" + filepath.Join(c.dir, "tokens.csv"),
		"--authorization-mode=RBAC", "--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + key,
		"--service-account-signing-key-file=" + key, "--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none",
	}})
	var err error
	if c.Clientset, err = clientset.NewForConfig(&rest.Config{
		Host: "https://" + c.api, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 1000, Burst: 1000,
	}); err != nil {
		c.t.Fatal(err)
	}
	testkit.Eventually(c.t, "the API server is ready", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil
	})
}

// furnish makes what the tests need: a namespace, and that the gateway may follow slices in it.
func (c *cluster) furnish() {
	c.t.Helper()
	ctx := c.t.Context()
	_, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	c.must(err)
	_, err = c.RbacV1().Roles("shop").Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "gateway"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}}},
	}, metav1.CreateOptions{})
	c.must(err)
	c.bind(rbacv1.Subject{Kind: "User", Name: "gateway", APIGroup: "rbac.authorization.k8s.io"})
}

// bind gives someone the rights of a gateway.
func (c *cluster) bind(who rbacv1.Subject) {
	c.t.Helper()
	_, err := c.RbacV1().RoleBindings("shop").Create(c.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: who.Name}, Subjects: []rbacv1.Subject{who},
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "gateway"},
	}, metav1.CreateOptions{})
	c.must(err)
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err)
	}
}

// kubeconfig writes one for a token.
func (c *cluster) kubeconfig(token string) string {
	c.t.Helper()
	authority, err := os.ReadFile(filepath.Join(c.dir, "certs", "apiserver.crt"))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.write("kubeconfig-"+base64.RawURLEncoding.EncodeToString([]byte(token))[:12], fmt.Sprintf(
		`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"clusters": [{"name": "c", "cluster": {"server": "https://%s", "certificate-authority-data": %q}}],
"users": [{"name": "u", "user": {"token": %q}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}`,
		c.api, base64.StdEncoding.EncodeToString(authority), token))
}
