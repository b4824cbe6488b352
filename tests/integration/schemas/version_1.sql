CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE specs (
	spec_id INTEGER NOT NULL, 
	provider TEXT NOT NULL, 
	model TEXT NOT NULL, 
	dimensions INTEGER NOT NULL, 
	task_type TEXT NOT NULL, 
	PRIMARY KEY (spec_id), 
	UNIQUE (provider, model, dimensions, task_type)
);
CREATE TABLE documents (
	document_id INTEGER NOT NULL, 
	uri TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	chunker TEXT NOT NULL, 
	title TEXT NOT NULL, 
	media_type TEXT NOT NULL, 
	n_bytes INTEGER NOT NULL, 
	error_message TEXT, 
	PRIMARY KEY (document_id), 
	UNIQUE (uri, sha256, chunker)
);
CREATE TABLE throttles (
	model TEXT NOT NULL, 
	not_before TEXT, 
	n_refusals INTEGER NOT NULL, 
	max_enqueued_tokens INTEGER, 
	PRIMARY KEY (model)
);
CREATE TABLE chunks (
	chunk_id INTEGER NOT NULL, 
	sha256 BLOB NOT NULL, 
	text TEXT NOT NULL, 
	n_chars INTEGER NOT NULL, 
	error_spec_id INTEGER, 
	error_code TEXT, 
	error_message TEXT, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (chunk_id), 
	UNIQUE (sha256), 
	FOREIGN KEY(error_spec_id) REFERENCES specs (spec_id) ON DELETE RESTRICT
);
CREATE INDEX chunks_failed ON chunks (chunk_id) WHERE error_message IS NOT NULL;
CREATE TABLE generations (
	generation_id INTEGER NOT NULL, 
	month TEXT NOT NULL, 
	spec_id INTEGER NOT NULL, 
	chunker TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	planned_at TEXT, 
	published_at TEXT, 
	n_documents INTEGER DEFAULT '0' NOT NULL, 
	n_chunks INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (generation_id), 
	FOREIGN KEY(spec_id) REFERENCES specs (spec_id) ON DELETE RESTRICT
);
CREATE UNIQUE INDEX generations_one_building ON generations (state) WHERE state = 'building';
CREATE UNIQUE INDEX generations_one_published ON generations (state) WHERE state = 'published';
CREATE TABLE document_chunks (
	document_id INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	chunk_id INTEGER NOT NULL, 
	PRIMARY KEY (document_id, position), 
	FOREIGN KEY(document_id) REFERENCES documents (document_id) ON DELETE RESTRICT, 
	FOREIGN KEY(chunk_id) REFERENCES chunks (chunk_id) ON DELETE RESTRICT
)
 WITHOUT ROWID

;
CREATE INDEX ix_document_chunks_chunk_id ON document_chunks (chunk_id);
CREATE TABLE generation_documents (
	generation_id INTEGER NOT NULL, 
	document_id INTEGER NOT NULL, 
	PRIMARY KEY (generation_id, document_id), 
	FOREIGN KEY(generation_id) REFERENCES generations (generation_id) ON DELETE RESTRICT, 
	FOREIGN KEY(document_id) REFERENCES documents (document_id) ON DELETE RESTRICT
)
 WITHOUT ROWID

;
CREATE INDEX ix_generation_documents_document_id ON generation_documents (document_id);
CREATE TABLE shards (
	shard_id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	generation_id INTEGER NOT NULL, 
	route TEXT NOT NULL, 
	n_requests INTEGER NOT NULL, 
	n_bytes INTEGER NOT NULL, 
	estimated_tokens INTEGER NOT NULL, 
	usd_per_million TEXT NOT NULL, 
	state TEXT NOT NULL, 
	planned_at TEXT NOT NULL, 
	submit_requested_at TEXT, 
	PRIMARY KEY (shard_id), 
	UNIQUE ("key"), 
	FOREIGN KEY(generation_id) REFERENCES generations (generation_id) ON DELETE RESTRICT
);
CREATE INDEX shards_open ON shards (shard_id) WHERE state = 'open';
CREATE TABLE vectors (
	spec_id INTEGER NOT NULL, 
	chunk_id INTEGER NOT NULL, 
	vector BLOB NOT NULL, 
	PRIMARY KEY (spec_id, chunk_id), 
	FOREIGN KEY(spec_id) REFERENCES specs (spec_id) ON DELETE RESTRICT, 
	FOREIGN KEY(chunk_id) REFERENCES chunks (chunk_id) ON DELETE RESTRICT
);
CREATE TABLE requests (
	shard_id INTEGER NOT NULL, 
	chunk_id INTEGER NOT NULL, 
	outcome TEXT NOT NULL, 
	error_code TEXT, 
	error_message TEXT, 
	billed_tokens INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (shard_id, chunk_id), 
	CHECK (outcome IN ('pending', 'embedded', 'failed')), 
	CHECK ((outcome = 'failed') = (error_message IS NOT NULL)), 
	FOREIGN KEY(shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT, 
	FOREIGN KEY(chunk_id) REFERENCES chunks (chunk_id) ON DELETE RESTRICT
)
 WITHOUT ROWID

;
CREATE INDEX ix_requests_chunk_id ON requests (chunk_id);
CREATE TABLE batch_jobs (
	shard_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	display_name TEXT NOT NULL, 
	requests_sha256 TEXT NOT NULL, 
	state TEXT NOT NULL, 
	input_file_name TEXT, 
	job_name TEXT, 
	result_file_name TEXT, 
	error_message TEXT, 
	reserved_at TEXT NOT NULL, 
	unconfirmed_at TEXT, 
	submitted_at TEXT, 
	ended_at TEXT, 
	collect_requested_at TEXT, 
	failure_reported_at TEXT, 
	PRIMARY KEY (shard_id, attempt), 
	FOREIGN KEY(shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT, 
	UNIQUE (display_name), 
	UNIQUE (job_name)
);
CREATE VIEW published_chunks AS
SELECT dc.chunk_id, d.uri, d.title, dc.position, c.text, v.vector
FROM generations AS g
JOIN generation_documents AS gd ON gd.generation_id = g.generation_id
JOIN documents AS d ON d.document_id = gd.document_id
JOIN document_chunks AS dc ON dc.document_id = d.document_id
JOIN chunks AS c ON c.chunk_id = dc.chunk_id
JOIN vectors AS v ON v.spec_id = g.spec_id AND v.chunk_id = dc.chunk_id
WHERE g.state = 'published';
PRAGMA user_version = 1;
INSERT INTO meta VALUES ('index_id', '1a2b3c4d');
