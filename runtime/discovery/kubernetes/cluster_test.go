//go:build kubernetes

package kubernetes_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/internal/testkit/apiserver"
)

// cluster is an API server with a namespace whose slices a gateway may follow.
type cluster struct {
	*apiserver.Cluster
	t *testing.T
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	return &cluster{apiserver.New(t), t}
}

// furnish makes what the tests need: a namespace, and that the gateway may follow slices in it.
func (c *cluster) furnish() {
	c.t.Helper()
	ctx := c.t.Context()
	_, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
	c.Must(err)
	_, err = c.RbacV1().Roles("shop").Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "gateway"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"list", "watch"}}},
	}, metav1.CreateOptions{})
	c.Must(err)
	c.bind(rbacv1.Subject{Kind: "User", Name: "gateway", APIGroup: "rbac.authorization.k8s.io"})
}

// bind gives someone the rights of a gateway.
func (c *cluster) bind(who rbacv1.Subject) {
	c.t.Helper()
	_, err := c.RbacV1().RoleBindings("shop").Create(c.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: who.Name}, Subjects: []rbacv1.Subject{who},
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "gateway"},
	}, metav1.CreateOptions{})
	c.Must(err)
}
