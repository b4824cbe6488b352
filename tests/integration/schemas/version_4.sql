PRAGMA page_size = 16384;
PRAGMA auto_vacuum = 2;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
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
	released_at TEXT, 
	cancel_requested_at TEXT, 
	PRIMARY KEY (shard_id, attempt), 
	FOREIGN KEY(shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT, 
	UNIQUE (display_name), 
	UNIQUE (job_name)
);
INSERT INTO "batch_jobs" VALUES(1,1,'embedding-assets/0405398b/2026-09-0001/1/67b5fddcd67bad1b','67b5fddcd67bad1b61470e85d77b6b41c65381edda478f22a61526db70ac4e1f','collected','files/c2u0f2ots8yt','batches/hvi10bzvtfet1tcg4k43wg0l9z05mcrw7db6','files/batch-hvi10bzvtfet1tcg4k43wg0l9z05mcrw7db6',NULL,'2026-11-30T06:54:00.378782+00:00','2026-11-30T06:54:00.427991+00:00','2026-11-30T06:54:00.505945+00:00','2026-11-30T06:54:00.464645+00:00','2026-11-30T06:54:00.717892+00:00',NULL,NULL,NULL);
INSERT INTO "batch_jobs" VALUES(2,1,'embedding-assets/0405398b/2026-09-0002/1/a3c9d0e121f52a0c','a3c9d0e121f52a0c23c9c3f2fab95c791b59c52d1ea4d25b1aac94221f29a7b7','collected','files/asio5626eo1s','batches/7535egp0e05xfs0qhcnc3xt355jzgdoipusb','files/batch-7535egp0e05xfs0qhcnc3xt355jzgdoipusb',NULL,'2026-11-30T06:54:00.539943+00:00','2026-11-30T06:54:00.564527+00:00','2026-11-30T06:54:00.574138+00:00','2026-11-30T06:54:00.584216+00:00','2026-11-30T06:54:00.717892+00:00',NULL,NULL,NULL);
INSERT INTO "batch_jobs" VALUES(3,1,'embedding-assets/0405398b/2026-09-0003/1/31a415b120d7bb33','31a415b120d7bb33f19263b96179b2849c8cffa014b17c6d4a9dbdedf991d93e','collected','files/woe6dpnm1dco','batches/guarqjyd5hrow5jwrjdleukguv44e9sj244c','files/batch-guarqjyd5hrow5jwrjdleukguv44e9sj244c',NULL,'2026-11-30T06:54:00.593640+00:00','2026-11-30T06:54:00.609600+00:00','2026-11-30T06:54:00.619010+00:00','2026-11-30T06:54:00.617998+00:00','2026-11-30T06:54:00.717892+00:00',NULL,NULL,NULL);
INSERT INTO "batch_jobs" VALUES(4,1,'embedding-assets/0405398b/2026-10-0001/1/24fdeb078a539a25','24fdeb078a539a25ff48f1fe892f2630a3288292ea328b5d880bbb16a04bb491','collected','files/h3qn2em6uxp1','batches/j07cr4q7sj9g9gx96dfjeu25ppy4zlu2nq3v','files/batch-j07cr4q7sj9g9gx96dfjeu25ppy4zlu2nq3v',NULL,'2026-11-30T06:54:04.275714+00:00','2026-11-30T06:54:04.293846+00:00','2026-11-30T06:54:04.311371+00:00','2026-11-30T06:54:04.317029+00:00','2026-11-30T06:54:04.425028+00:00',NULL,NULL,NULL);
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
INSERT INTO "chunks" VALUES(1,X'2DA2657B03FAF871CC0EC15C3B0E6619E5D0D10A427AC590E546F2EE2C09338F','The aardvark is an animal. Everything here is about the aardvark.',65,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(2,X'FB5486B0EDA6ABA3404EC6946A08F40443D837EF6ACFCF04B4E22AAC14A1466C','The badger is an animal. Everything here is about the badger.',61,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(3,X'DA4553524198273C377A9CE975B1796F08A78AC36D2553A4654A9C98D8FCA1EE','The capybara is an animal. Everything here is about the capybara.',65,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(4,X'E8B1E7766D3A4582D1AD2EC8802F6F72BBC2752C438F2DED95C95B2A1529F683','The dolphin is an animal. Everything here is about the dolphin.',63,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(5,X'CE9201E86846E36E63F3013341571DED2E66868A5DBF30A78D40421B560DD213','The echidna is an animal. Everything here is about the echidna.',63,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(6,X'40668588F04687284DA78F0EDD19ED5352B4942A69486E08C760051BF27430F0','The flamingo is an animal. Everything here is about the flamingo.',65,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(7,X'C649027F02901E7357AB7B9E5A887098C74744D172BAF4521EB72B58D054122E','The gecko is an animal. Everything here is about the gecko.',59,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(8,X'A40891FFFD6ABCF4A44365942925C42CFAE3FFD493CEA90E2FF1413FA563DCBB','The hedgehog is an animal. Everything here is about the hedgehog.',65,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(9,X'6EA1502BD0BC731B7A38870C017B50D60D0FF0176BCEC0C91E9FB1E94CF1302B','The ibex is an animal. Everything here is about the ibex.',57,NULL,NULL,NULL,0);
INSERT INTO "chunks" VALUES(10,X'9B75E27291242A1F7916370771A6E62780325DF6393DF8DD9DAF5E0E727335E2','The badger has moved to another burrow.',39,NULL,NULL,NULL,0);
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
INSERT INTO "document_chunks" VALUES(1,0,1);
INSERT INTO "document_chunks" VALUES(2,0,2);
INSERT INTO "document_chunks" VALUES(3,0,3);
INSERT INTO "document_chunks" VALUES(4,0,4);
INSERT INTO "document_chunks" VALUES(5,0,5);
INSERT INTO "document_chunks" VALUES(6,0,6);
INSERT INTO "document_chunks" VALUES(7,0,7);
INSERT INTO "document_chunks" VALUES(8,0,8);
INSERT INTO "document_chunks" VALUES(9,0,9);
INSERT INTO "document_chunks" VALUES(10,0,10);
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
INSERT INTO "documents" VALUES(1,'/corpus/docs/aardvark.txt','2da2657b03faf871cc0ec15c3b0e6619e5d0d10a427ac590e546f2ee2c09338f','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','aardvark','text/plain',65,NULL);
INSERT INTO "documents" VALUES(2,'/corpus/docs/badger.txt','fb5486b0eda6aba3404ec6946a08f40443d837ef6acfcf04b4e22aac14a1466c','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','badger','text/plain',61,NULL);
INSERT INTO "documents" VALUES(3,'/corpus/docs/capybara.txt','da4553524198273c377a9ce975b1796f08a78ac36d2553a4654a9c98d8fca1ee','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','capybara','text/plain',65,NULL);
INSERT INTO "documents" VALUES(4,'/corpus/docs/dolphin.txt','e8b1e7766d3a4582d1ad2ec8802f6f72bbc2752c438f2ded95c95b2a1529f683','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','dolphin','text/plain',63,NULL);
INSERT INTO "documents" VALUES(5,'/corpus/docs/echidna.txt','ce9201e86846e36e63f3013341571ded2e66868a5dbf30a78d40421b560dd213','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','echidna','text/plain',63,NULL);
INSERT INTO "documents" VALUES(6,'/corpus/docs/flamingo.txt','40668588f04687284da78f0edd19ed5352b4942a69486e08c760051bf27430f0','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','flamingo','text/plain',65,NULL);
INSERT INTO "documents" VALUES(7,'/corpus/docs/gecko.txt','c649027f02901e7357ab7b9e5a887098c74744d172baf4521eb72b58d054122e','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','gecko','text/plain',59,NULL);
INSERT INTO "documents" VALUES(8,'/corpus/docs/hedgehog.txt','a40891fffd6abcf4a44365942925c42cfae3ffd493cea90e2ff1413fa563dcbb','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','hedgehog','text/plain',65,NULL);
INSERT INTO "documents" VALUES(9,'/corpus/docs/ibex.txt','6ea1502bd0bc731b7a38870c017b50d60d0ff0176bcec0c91e9fb1e94cf1302b','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','ibex','text/plain',57,NULL);
INSERT INTO "documents" VALUES(10,'/corpus/docs/badger.txt','9b75e27291242a1f7916370771a6e62780325df6393df8dd9daf5e0e727335e2','extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','badger','text/plain',39,NULL);
CREATE TABLE generation_documents (
	generation_id INTEGER NOT NULL, 
	document_id INTEGER NOT NULL, 
	error_message TEXT, 
	PRIMARY KEY (generation_id, document_id), 
	FOREIGN KEY(generation_id) REFERENCES generations (generation_id) ON DELETE RESTRICT, 
	FOREIGN KEY(document_id) REFERENCES documents (document_id) ON DELETE RESTRICT
)
 WITHOUT ROWID

;
INSERT INTO "generation_documents" VALUES(1,1,NULL);
INSERT INTO "generation_documents" VALUES(1,2,NULL);
INSERT INTO "generation_documents" VALUES(1,3,NULL);
INSERT INTO "generation_documents" VALUES(1,4,NULL);
INSERT INTO "generation_documents" VALUES(1,5,NULL);
INSERT INTO "generation_documents" VALUES(1,6,NULL);
INSERT INTO "generation_documents" VALUES(1,7,NULL);
INSERT INTO "generation_documents" VALUES(1,8,NULL);
INSERT INTO "generation_documents" VALUES(1,9,NULL);
INSERT INTO "generation_documents" VALUES(2,3,NULL);
INSERT INTO "generation_documents" VALUES(2,4,NULL);
INSERT INTO "generation_documents" VALUES(2,5,NULL);
INSERT INTO "generation_documents" VALUES(2,6,NULL);
INSERT INTO "generation_documents" VALUES(2,7,NULL);
INSERT INTO "generation_documents" VALUES(2,8,NULL);
INSERT INTO "generation_documents" VALUES(2,9,NULL);
INSERT INTO "generation_documents" VALUES(2,10,NULL);
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
	approved_usd TEXT, 
	bought_usd TEXT, 
	n_bought INTEGER, 
	PRIMARY KEY (generation_id), 
	FOREIGN KEY(spec_id) REFERENCES specs (spec_id) ON DELETE RESTRICT
);
INSERT INTO "generations" VALUES(1,'2026-09',1,'extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','retired','2026-11-30T06:53:58.810303+00:00','2026-11-30T06:53:58.936820+00:00','2026-11-30T06:54:01.912477+00:00',9,9,NULL,NULL,NULL);
INSERT INTO "generations" VALUES(2,'2026-10',1,'extraction 1, chunking 1, semantic-text-splitter 0.33.1, 2000 characters, 2048 tokens','published','2026-11-30T06:54:03.611340+00:00','2026-11-30T06:54:03.736230+00:00','2026-11-30T06:54:05.306479+00:00',8,8,NULL,NULL,NULL);
CREATE TABLE meta (
	name TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('index_id','0405398b');
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
INSERT INTO "requests" VALUES(1,1,'embedded',NULL,NULL,17);
INSERT INTO "requests" VALUES(1,2,'embedded',NULL,NULL,16);
INSERT INTO "requests" VALUES(1,3,'embedded',NULL,NULL,17);
INSERT INTO "requests" VALUES(1,4,'embedded',NULL,NULL,16);
INSERT INTO "requests" VALUES(2,5,'embedded',NULL,NULL,16);
INSERT INTO "requests" VALUES(2,6,'embedded',NULL,NULL,17);
INSERT INTO "requests" VALUES(2,7,'embedded',NULL,NULL,15);
INSERT INTO "requests" VALUES(2,8,'embedded',NULL,NULL,17);
INSERT INTO "requests" VALUES(3,9,'embedded',NULL,NULL,15);
INSERT INTO "requests" VALUES(4,10,'embedded',NULL,NULL,10);
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
INSERT INTO "shards" VALUES(1,'2026-09-0001',1,'batch',4,742,74,'0.075','settled','2026-11-30T06:53:58.936820+00:00','2026-11-30T06:53:59.032660+00:00');
INSERT INTO "shards" VALUES(2,'2026-09-0002',1,'batch',4,740,73,'0.075','settled','2026-11-30T06:53:58.936820+00:00','2026-11-30T06:53:59.032660+00:00');
INSERT INTO "shards" VALUES(3,'2026-09-0003',1,'batch',1,179,17,'0.075','settled','2026-11-30T06:53:58.936820+00:00','2026-11-30T06:53:59.032660+00:00');
INSERT INTO "shards" VALUES(4,'2026-10-0001',2,'batch',1,162,11,'0.075','settled','2026-11-30T06:54:03.736230+00:00','2026-11-30T06:54:03.832142+00:00');
CREATE TABLE specs (
	spec_id INTEGER NOT NULL, 
	provider TEXT NOT NULL, 
	model TEXT NOT NULL, 
	dimensions INTEGER NOT NULL, 
	task_type TEXT NOT NULL, 
	PRIMARY KEY (spec_id), 
	UNIQUE (provider, model, dimensions, task_type)
);
INSERT INTO "specs" VALUES(1,'emulator','gemini-embedding-001',16,'RETRIEVAL_DOCUMENT');
CREATE TABLE throttles (
	model TEXT NOT NULL, 
	not_before TEXT, 
	n_refusals INTEGER NOT NULL, 
	max_enqueued_tokens INTEGER, 
	PRIMARY KEY (model)
);
INSERT INTO "throttles" VALUES('gemini-embedding-001',NULL,0,NULL);
CREATE TABLE unused_chunks (
	chunk_id INTEGER NOT NULL, 
	since TEXT NOT NULL, 
	PRIMARY KEY (chunk_id), 
	FOREIGN KEY(chunk_id) REFERENCES chunks (chunk_id) ON DELETE RESTRICT
);
CREATE TABLE vectors (
	spec_id INTEGER NOT NULL, 
	chunk_id INTEGER NOT NULL, 
	vector BLOB NOT NULL, 
	PRIMARY KEY (spec_id, chunk_id), 
	FOREIGN KEY(spec_id) REFERENCES specs (spec_id) ON DELETE RESTRICT, 
	FOREIGN KEY(chunk_id) REFERENCES chunks (chunk_id) ON DELETE RESTRICT
);
INSERT INTO "vectors" VALUES(1,1,X'B05BACBD81A6403E0B338CBEBBFFD93E39B7773EE57DE5BDDA41123EAA9CB3BE898D703D62AFE23BF8ED44BEE173133FE70C96BD8F45843D1011863E134643BE');
INSERT INTO "vectors" VALUES(1,2,X'1CFCB7BCA079E3BD6E74CBBE7E5BFD3DEF0D683D99D9063EDF5227BE76292BBE3A949FBECD75A13EBDE300BF8C58AA3E7E9A6F3E6179FCBDE309883E5F2546BE');
INSERT INTO "vectors" VALUES(1,3,X'9379ABBC3041883D580B11BEEF3230BEB1446A3EA008D9BDA839813E337F1EBFCB574CBB1E61D63BDB0CD83DE9BA803EA2E78DBDBB2E7A3DEEDABA3EFD77EFBE');
INSERT INTO "vectors" VALUES(1,4,X'DF45303EF26E8A3E0D4C1DBF95DBD03E61E264BE548595BEF082C9BDFC7D5BBE2E0604BB32828A3BA5A7F0BDA3F5733EEA5D37BD1A88663E8BD5233EA1A1EEBD');
INSERT INTO "vectors" VALUES(1,5,X'645FB33E09D6C03E2F1672BE850CF33E495A863E5DE719BE2A0A7CBE1F129BBEB48C3ABB4DB6C33BCB3CC53D5CF0903EE5DD4B3ED065643D407F673EB69728BE');
INSERT INTO "vectors" VALUES(1,6,X'E4468A3E9725653CF96586BE845AEF3D619636BEAE23CCBE42131EBE1C2EACBE7699663D884C373EFCC73CBEC2A3BC3CCC6F19BFA4E16ABEDCF724BD9F313BBE');
INSERT INTO "vectors" VALUES(1,7,X'387A85BC252A173F0222B53C982709BE24E189BE013A03BE806702BD53FAB2BED70DB63D5998B0BD54F810BE512A773E71EB5CBD30DF8A3EE238D53E84028EBE');
INSERT INTO "vectors" VALUES(1,8,X'32A3FABE2C247B3EA47D41BE2D0D6BBE0C12A0BD5FE460BECB69013D4B3BC73D454C88BB06FE0E3C8A370CBF4C42F83C46F3943EC38E9ABE028956BE133A26BE');
INSERT INTO "vectors" VALUES(1,9,X'AF079FBCFC9BB9BE009F9DBD9D7F66BD5846A4BE841EE93D7347003EA1A328BD18152ABE17D2C63B06B92CBEF4D80D3F239B83BD8206683D7B0AFE3E2332A9BE');
INSERT INTO "vectors" VALUES(1,10,X'30DC923DABEA85BE945DCB3D9A31B2BD7E00C5BD9671E93ECCFB70BE0509303EB58D27BE9C02763E393FBC3D7D696FBED56A283FA5945B3D249A903A16801D3E');
CREATE INDEX chunks_failed ON chunks (chunk_id) WHERE error_message IS NOT NULL;
CREATE UNIQUE INDEX generations_one_building ON generations (state) WHERE state = 'building';
CREATE UNIQUE INDEX generations_one_published ON generations (state) WHERE state = 'published';
CREATE INDEX ix_document_chunks_chunk_id ON document_chunks (chunk_id);
CREATE INDEX ix_generation_documents_document_id ON generation_documents (document_id);
CREATE INDEX shards_open ON shards (shard_id) WHERE state = 'open';
CREATE INDEX ix_requests_chunk_id ON requests (chunk_id);
CREATE VIEW published_chunks AS
SELECT dc.chunk_id, d.uri, d.title, dc.position, c.text, v.vector
FROM generations AS g
JOIN generation_documents AS gd ON gd.generation_id = g.generation_id
JOIN documents AS d ON d.document_id = gd.document_id
JOIN document_chunks AS dc ON dc.document_id = d.document_id
JOIN chunks AS c ON c.chunk_id = dc.chunk_id
JOIN vectors AS v ON v.spec_id = g.spec_id AND v.chunk_id = dc.chunk_id
WHERE g.state = 'published';
COMMIT;
PRAGMA user_version = 4;
