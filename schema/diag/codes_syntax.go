package diag

// GW1xxx: reading files. 10xx the repository and encodings, 11xx the YAML dialect, 12xx older versions, 15xx CUE.
var syntaxCodes = []Explanation{
	{
		Code: "GW1001", Title: "no config file",
		Why: "a wrong path must not look like a valid, empty config",
		Fix: "give the folder that holds gateway.yaml, or make one with `gwctl init`",
	},
	{
		Code: "GW1002", Title: "file no loader takes",
		Why: "a route in a file that nothing reads is a route nobody serves, and nobody would notice",
		Fix: "let the name end in .yaml, .yml, .json or .cue, or name the file in .gwignore (same syntax as .gitignore)",
	},
	{
		Code: "GW1003", Title: "config in the wrong place",
		Why: "where a file lies says which layer it belongs to: the base, a tenant, an environment, or a tenant in an environment",
		Fix: "move it into routes/, upstreams/, policies/, tenants/<tenant>/, environments/<env>/, environments/<env>/tenants/<tenant>/ or tests/",
	},
	{
		Code: "GW1004", Title: "misspelt folder",
		Why: "a folder whose name is nearly that of a known one holds config, which would not be read",
		Fix: "rename it, or name it in .gwignore if it is something else",
	},
	{
		Code: "GW1005", Title: "file too large",
		Why: "a file of more than 4 MiB is slow to review and to compile; one made by accident should not stop the compiler for minutes",
		Fix: "split it: objects of one kind may be spread over any number of files",
	},
	{
		Code: "GW1006", Title: "repository too large",
		Why: "at most 50,000 files, 256 MiB and folders 32 deep are read, which bounds what a commit can cost",
		Fix: "check for generated files; name in .gwignore what is no config",
	},
	{
		Code: "GW1007", Title: "link out of the repository",
		Why: "a link to something outside would let a commit read the machine that compiles it, and the result would depend on that machine",
		Fix: "copy the file into the repository",
	},
	{
		Code: "GW1008", Title: "link that cannot be followed",
		Why: "links may name a regular file of the repository; through a link to a folder the same file would have two paths, and two layers",
		Fix: "link to the file itself, or copy it",
	},
	{
		Code: "GW1009", Title: "name that is not safe",
		Why: "names that are hidden, not UTF-8, hold invisible characters, or look like .git to some file system show something else to a reviewer than to the compiler",
		Fix: "rename the file, or name it in .gwignore",
	},
	{
		Code: "GW1010", Title: "names that differ in case only",
		Why: "on macOS and Windows only one of the two can be checked out, so people there would see another config than the one that is compiled",
		Fix: "rename one of them",
	},
	{
		Code: "GW1011", Title: "name of an environment or tenant",
		Why: "the name becomes part of paths, metrics and the scope of keys",
		Fix: "use at most 63 lower-case letters, digits, - and _, beginning with a letter or a digit",
	},
	{
		Code: "GW1012", Title: "two gateway files",
		Why: "with gateway.yaml beside gateway.cue a reader cannot know which one counts",
		Fix: "keep one of them",
	},
	{
		Code: "GW1013", Title: "submodule",
		Why: "the content of a submodule is not part of the commit, so it cannot be traced to it",
		Fix: "commit the files themselves",
	},
	{
		Code: "GW1020", Title: "not UTF-8: another encoding",
		Why: "files are UTF-8, with or without a byte order mark; two readings of the same bytes must not exist",
		Fix: "save the file as UTF-8",
	},
	{
		Code: "GW1021", Title: "not UTF-8: a broken character",
		Why: "what is not UTF-8 is replaced by some tools and refused by others",
		Fix: "save the file as UTF-8",
	},
	{
		Code: "GW1022", Title: "control character",
		Why: "control characters are invisible in a review, and end up in logs, terminals and headers",
		Fix: "remove it, also where it is written as an escape such as \"\\x00\"",
	},
	{
		Code: "GW1023", Title: "bidirectional control character",
		Why: "it changes the order in which text is shown, so that a reviewer reads another config than the compiler (CVE-2021-42574)",
		Fix: "remove it",
	},
	{
		Code: "GW1024", Title: "unusual line break",
		Why: "U+0085, U+2028, U+2029 and a lone CR end a line for YAML but not in most editors, so a line can hide in another",
		Fix: "end lines with LF or CRLF",
	},
	{
		Code: "GW1090", Title: "CUE is not evaluated here",
		Why: "the program at hand has no child process to evaluate CUE in",
		Fix: "use gwctl",
	},
	{
		Code: "GW1100", Title: "YAML syntax",
		Why: "the text is not YAML",
		Fix: "see the hint; a common cause is indentation, or a value with \": \", \" #\" or a leading special character that needs quotes",
		Bad: "routes:\n  - id: a\n    description: note: quote me", Good: "routes:\n  - id: a\n    description: \"note: quote me\"",
	},
	{
		Code: "GW1101", Title: "ambiguous word",
		Why: "yes, no, on, off, y and n are truth values to YAML 1.1 parsers and words to others; as names of fields they are words",
		Fix: "write true or false, or quote the word",
		Bad: "enabled: yes", Good: "enabled: true",
	},
	{
		Code: "GW1102", Title: "ambiguous number",
		Why: "leading zeros, 0x, 0o, 0b and digits with _ are read as different numbers, or as strings, by different parsers",
		Fix: "write the decimal number, or quote it to mean the text",
		Bad: "mode: 017", Good: "mode: 15",
	},
	{
		Code: "GW1103", Title: "whole number with an exponent",
		Why: "1e3 is a decimal number to some parsers and a string to others, never a whole number",
		Fix: "write the digits out",
		Bad: "intervalMs: 6e4", Good: "intervalMs: 60000",
	},
	{
		Code: "GW1104", Title: "number out of range",
		Why: "numbers that do not fit 64 bits lose digits without a word in some parsers",
		Fix: "use a smaller number, or quote it if it is an identifier",
		Bad: "id: 9223372036854775808", Good: "id: \"9223372036854775808\"",
	},
	{
		Code: "GW1105", Title: "not a number",
		Why: ".nan and .inf cannot be written as JSON, and compare in surprising ways",
		Fix: "write a number, or leave the field out",
	},
	{
		Code: "GW1106", Title: "name written twice",
		Why: "parsers keep the first or the last value; the reader sees both",
		Fix: "keep one",
		Bad: "timeout: 1000\ntimeout: 2000", Good: "timeout: 2000",
	},
	{
		Code: "GW1107", Title: "merge key",
		Why: "<< is not part of YAML 1.2, and where a field comes from could not be shown",
		Fix: "name the shared settings under policies: and list them in use:",
		Bad: "policy:\n  <<: *defaults", Good: "use: [defaults]",
	},
	{
		Code: "GW1108", Title: "second document",
		Why: "most tools read only the first document of a file, so the second would be lost",
		Fix: "use one file for each document",
	},
	{
		Code: "GW1109", Title: "tag",
		Why: "values are plain data; tags make some parsers build objects, and others ignore them",
		Fix: "remove the tag, or quote a value that begins with !",
		Bad: "key: !!binary aGk=", Good: "key: aGk=",
	},
	{
		Code: "GW1110", Title: "aliases add too much",
		Why: "a few lines of aliases to aliases stand for billions of values; a file may gain 10,000 values by them",
		Fix: "use a named policy, or write the values out",
	},
	{
		Code: "GW1111", Title: "alias to itself",
		Why: "a value that contains itself has no end",
		Fix: "write the value out",
	},
	{
		Code: "GW1112", Title: "nested too deep",
		Why: "no config needs more than 64 maps and lists inside one another; deeper ones are meant to exhaust parsers",
		Fix: "check for brackets that are never closed",
	},
	{
		Code: "GW1113", Title: "name that is not a string",
		Why: "some parsers turn the name into a string, others keep a number or a truth value, others refuse",
		Fix: "quote it",
		Bad: "404: not found", Good: "\"404\": not found",
	},
	{
		Code: "GW1114", Title: "the file is not a map",
		Why: "a file holds apiVersion and lists of objects under their names",
		Fix: "put the list under its name, e.g. routes:",
		Bad: "- id: a", Good: "routes:\n  - id: a",
	},
	{
		Code: "GW1115", Title: "unknown alias",
		Why: "the name after * must be defined above it, with &",
		Fix: "define it, or quote the value if the * is meant as text",
		Bad: "host: *.example.com", Good: "host: \"*.example.com\"",
	},
	{
		Code: "GW1116", Title: "tab as indentation",
		Why: "the width of a tab depends on the editor, so YAML does not allow it",
		Fix: "indent with blanks",
	},
	{
		Code: "GW1117", Title: "many problems",
		Why: "after a hundred problems in one file the list is cut",
		Fix: "mend those that are listed first",
	},
	{
		Code: "GW1201", Title: "older apiVersion",
		Why:  "files of an older version are read as they always were, but a version is dropped after two minor releases of this warning",
		Fix:  "run `gwctl migrate --write`, which changes the files and nothing that they say; docs/migration.md has the versions",
		Bad:  "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Policy\nid: patient\ntimeout: 10",
		Good: "apiVersion: gateway.suuupra.dev/v1\npolicies:\n  - id: patient\n    timeout: 10000",
	},
	{
		Code: "GW1202", Title: "CUE of an older version",
		Why: "older versions are read as YAML and JSON only: what CUE computes cannot be rewritten without changing how it is computed",
		Fix: "export the file with `cue export --out yaml`, run `gwctl migrate --write` on what comes out, and keep that; or write the CUE file for the current version",
	},
	{
		Code: "GW1203", Title: "no such kind",
		Why: "a file of gateway.suuupra.dev/v1beta1 holds one object, and its kind says by which definition it is read",
		Fix: "write the kind the message lists",
		Bad: "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Rout\nid: a", Good: "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Route\nid: a",
	},
	{
		Code: "GW1204", Title: "spelling of another version",
		Why: "a file is written in one version: a field that only another one has would be read as nobody meant it, seconds as milliseconds for one",
		Fix: "write the name the hint gives, or migrate the file as a whole",
		Bad: "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Upstream\nconnectTimeout: 5", Good: "apiVersion: gateway.suuupra.dev/v1beta1\nkind: Upstream\nconnect_timeout: 5",
	},
	{
		Code: "GW1205", Title: "file that cannot be rewritten",
		Why: "`gwctl migrate` changes bytes in place and keeps everything else; where an alias stands for a whole policy, or a comment beside a part that moves within brackets, it cannot do so",
		Fix: "write the alias out, or move the comment to a line of its own above, and try again; the compiler reads the file as it is",
	},
	{
		Code: "GW1501", Title: "CUE syntax",
		Why: "the text is not CUE, or its package clause stands where it is not looked for",
		Fix: "run `cue fmt` on the file",
	},
	{
		Code: "GW1502", Title: "CUE conflict",
		Why: "the values of a field do not fit together, a reference leads nowhere, or a definition does not allow a field",
		Fix: "the notes name every place that takes part",
		Bad: "a: 1\na: 2", Good: "a: 2",
	},
	{
		Code: "GW1503", Title: "import that is not allowed",
		Why: "the result must depend on the files of the commit alone: no network, no commands, no files from elsewhere",
		Fix: "use the builtin packages which only compute; the message lists them",
	},
	{
		Code: "GW1504", Title: "attribute that is not allowed",
		Why: "@embed, @extern, @tag, @if and @ignore read, or depend on, something other than the file",
		Fix: "write the value into the file; differences between environments go into environments/<env>/",
	},
	{
		Code: "GW1505", Title: "CUE value is not concrete",
		Why: "config is data: a field that is only a type or a constraint has no value to run with",
		Fix: "give it a value or a default, or hide it in a definition (#name) or a hidden field (_name)",
		Bad: "port: int", Good: "port: 8080",
	},
	{
		Code: "GW1506", Title: "CUE value config cannot hold",
		Why: "config is made of maps, lists, strings, numbers, truth values and null",
		Fix: "use double quotes for strings; single quotes make bytes",
		Bad: "a: 'text'", Good: "a: \"text\"",
	},
	{
		Code: "GW1507", Title: "CUE asks for too much",
		Why: "a file of a few hundred bytes can ask for hours and for all memory there is; 10 s of CPU, 1 GiB and 30 s are the limits for one file or package",
		Fix: "look for a definition that contains itself, and for large disjunctions and comprehensions; split what is just large",
	},
	{
		Code: "GW1508", Title: "CUE crashed",
		Why: "the evaluator ended on this file",
		Fix: "write it in a simpler way, or as YAML, and report the file",
	},
	{
		Code: "GW1509", Title: "CUE not evaluated",
		Why: "after three files that ask for too much the others are not tried any more",
		Fix: "mend those first",
	},
}
