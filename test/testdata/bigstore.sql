-- The rows of a store of many years, as real mail makes them; package test fills a database of the program's with them.
-- hash(text) is SHA-256. {from} and {to} bound the numbers of a step, {links}, {blobs} and {jobs} are how many there are
-- of each, {now} is the time in milliseconds, {gap} is the time between two mails.
-- Each statement begins with the name of what it counts.

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to}),
m AS (SELECT n, {now} - ({links} - n) * {gap} AS at, n % 10 < 3 AND ({links} - n) * {gap} > 120 * 86400000 AS ended FROM c)
INSERT INTO mails (key, queue_id, message_id, subject, sender, recipients, auth_user, client, received, size, digest, skeleton,
	skeleton_blob, skeleton_stored, skeleton_header, seen, retired, forgotten, header_sum)
SELECT hash('mail ' || n), printf('4%010X', n), printf('<%d.8a7f@mail.ext%d.test>', n, n % 50), printf('Quarterly report %d', n),
	CASE n % 3 WHEN 0 THEN printf('user%d@acmecorp.test', n * 7 % 5000) ELSE printf('sender%d@ext%d.test', n * 7 % 200003, n % 50) END,
	CASE n % 4 WHEN 0 THEN printf('["user%d@acmecorp.test","user%d@acmecorp.test"]', n * 11 % 5000, n * 13 % 5000)
		WHEN 1 THEN printf('["guest%d@ext%d.test"]', n * 17 % 200003, n % 50) ELSE printf('["user%d@acmecorp.test"]', n * 11 % 5000) END,
	'', '192.0.2.7', at, 4686, hash('digest ' || n), CASE WHEN ended THEN NULL ELSE randomblob(400) END, NULL,
	CASE WHEN ended THEN 0 ELSE 400 END, 254, NULL, CASE WHEN ended THEN at + 120 * 86400000 END, NULL, hash('header ' || n) FROM m;

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT OR IGNORE INTO recipients (domain, local, mail)
SELECT CASE n % 4 WHEN 1 THEN printf('ext%d.test', n % 50) ELSE 'acmecorp.test' END,
	CASE n % 4 WHEN 1 THEN printf('guest%d@', n * 17 % 200003) ELSE printf('user%d@', n * k % 5000) END, hash('mail ' || n)
FROM c CROSS JOIN (SELECT 11 AS k UNION ALL SELECT 13) WHERE k = 11 OR n % 4 = 0 ORDER BY 1, 2, 3;

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT INTO parts (mail, part, name, type, sniffed, size, sha256, span_start, span_end, layout, cut, linked, rule)
SELECT hash('mail ' || n), p, CASE p WHEN 1 THEN '' ELSE CASE n % 3 WHEN 0 THEN printf('report %d.pdf', n) WHEN 1 THEN printf('photo %d.jpg', n) ELSE printf('Invoice %d.docx', n) END END,
	CASE p WHEN 1 THEN 'text/plain' ELSE 'application/pdf' END, CASE p WHEN 1 THEN 'text/plain' ELSE 'application/octet-stream' END,
	CASE p WHEN 1 THEN 42 ELSE 20 END, CASE p WHEN 1 THEN hash('text ' || n) ELSE hash(printf('blob %015d', (n * 31 + p) % {blobs})) END,
	CASE p WHEN 1 THEN 114 ELSE 337 * p END, CASE p WHEN 1 THEN 156 ELSE 337 * p + 30 END,
	CASE p WHEN 1 THEN 'identity' ELSE 'base64 76 "\r\n" "\r\n"' END, p > 1, p > 1, CASE p WHEN 1 THEN 'text of the message' ELSE 'everything' END
FROM c CROSS JOIN (SELECT 1 AS p UNION ALL SELECT 2 UNION ALL SELECT 3) WHERE p < 3 OR n % 10 = 0;

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to}),
m AS (SELECT n, {now} - ({links} - n) * {gap} AS at FROM c)
INSERT INTO links (id, mail, generation, created, expires, revoked, guard)
SELECT hash('link ' || n), hash('mail ' || n), 0, at + 16, CASE WHEN n % 10 < 3 THEN at + 90 * 86400000 END,
	CASE WHEN n % 1000 = 999 THEN at + 3600000 END, '{}' FROM m;

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT INTO link_parts (link, part, allowance, told)
SELECT hash('link ' || n), p, NULL, NULL FROM c CROSS JOIN (SELECT 2 AS p UNION ALL SELECT 3) WHERE p < 3 OR n % 10 = 0;

-- links
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT INTO downloads (link, part, at, client, agent, proven)
SELECT hash('link ' || n), 2, {now} - ({links} - n) * {gap} + n % 90 * 3600000, printf('198.51.100.%d', n % 250), 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', ''
FROM c WHERE n % 2 = 0 AND ({links} - n) * {gap} > n % 90 * 3600000;

-- blobs
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT INTO blobs (sha256, size, created, used)
SELECT hash(printf('blob %015d', n)), 20, {now} - ({blobs} - n) * 1000, {now} - n % 1000 * 1000 FROM c;

-- jobs
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to}),
j AS (SELECT n, {links} - {jobs} + n AS mail, CASE n % 2 WHEN 0 THEN 'assets' ELSE 'archive' END AS target,
	printf('user%d@acmecorp.test', n % 5000) AS owner, {now} - ({jobs} - n) * {gap} AS at FROM c)
INSERT INTO jobs (key, kind, target, owner, payload, state, attempts, not_before, lease_until, node, fence, last_error, created, since, updated,
	due, label, sha256, size, sent)
SELECT 'vault-' || lower(hex(substr(hash('mail ' || mail), 1, 8))) || '-' || lower(hex(substr(hash('job ' || n), 1, 8))), 'vault', target, owner,
	CAST(printf('{"mail":"%s","part":2,"name":"report %d.pdf","type":"application/pdf","sender":"dave@ext.test","to":["%s"],"subject":"Quarterly report %d","message_id":"\u003c%d.8a7f@mail.ext%d.test\u003e","queue_id":"4%010X","received":"2026-11-28T13:00:36.648517969Z","direction":"inbound","rule":"vault"}',
		lower(hex(hash('mail ' || mail))), n, owner, n, mail, mail % 50, mail) AS BLOB),
	CASE n % 100 WHEN 7 THEN 'failed' WHEN 8 THEN 'held' ELSE 'waiting' END, n % 3, at + 5000, 0, '', 0,
	CASE WHEN n % 100 = 7 THEN 'permission denied' WHEN n % 5 = 0 THEN 'connection refused' ELSE '' END, at, at, at,
	at + CASE n % 3 WHEN 0 THEN 5000 ELSE 0 END, printf('%s/2026/11/report %d.pdf', owner, n), hash(printf('blob %015d', (mail * 31 + 2) % {blobs})), 20, 0 FROM j;

-- jobs
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to}),
j AS (SELECT n, {links} - {jobs} + n AS mail, printf('user%d@acmecorp.test', n % 5000) AS owner, {now} - ({jobs} - n) * {gap} AS at FROM c)
INSERT INTO uploaded (job, target, sha256, size, mail, owner, wanted, path, done)
SELECT 'vault-' || lower(hex(substr(hash('mail ' || mail), 1, 8))) || '-' || lower(hex(substr(hash('made ' || n), 1, 8))),
	CASE n % 2 WHEN 0 THEN 'assets' ELSE 'archive' END, hash(printf('blob %015d', (mail * 31 + 2) % {blobs})), 20, hash('mail ' || mail), owner,
	printf('%s/2026/10/report %d.pdf', owner, n), printf('%s/2026/10/report %d.pdf', owner, n), at FROM j;

-- hours
WITH RECURSIVE c(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {to})
INSERT INTO hours (hour, name, node, value)
SELECT {now} / 3600000 * 3600000 - (n + 2) * 3600000, name, 'mx.acmecorp.test', n * 7919 % 1000
FROM c CROSS JOIN (SELECT value AS name FROM json_each('["mail.linked", "mail.untouched", "body_bytes", "attachments_linked", "attachment_bytes", "stored_bytes", "downloads", "uploads", "latency.3", "latency.4", "latency.5", "job_failures"]'));
