package simulate

// Refuses is for tests.
var Refuses = refuses
