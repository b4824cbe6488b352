CREATE TABLE tickets (
    number INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    description TEXT NOT NULL,
    solution TEXT,
    team TEXT,
    closed_on TEXT,
    changed_at TEXT NOT NULL
);

INSERT INTO tickets VALUES
    (4711, 'Printer on the third floor', 'A paper jam every morning, in tray 2.',
     'The rollers were worn out and have been replaced.', 'Office', '2026-10-02',
     '2026-10-02 16:20:11'),
    (4712, 'No sound in the video call', 'Others hear me, I hear nothing.',
     'The headset was not the output of the call.', 'Desktop', '2026-10-05',
     '2026-10-05 09:02:40'),
    (4713, 'Certificate of the intranet expires', 'Browsers warn of it since Monday.',
     NULL, 'Network', NULL, '2026-11-03 08:15:00');
