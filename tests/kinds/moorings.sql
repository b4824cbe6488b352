-- Moorings and who pays for them.
CREATE TABLE mooring (
  id integer PRIMARY KEY,
  ship text NOT NULL  -- its name
);

INSERT INTO mooring VALUES (1, 'Ida');

/* Who owes what. */
CREATE OR REPLACE FUNCTION dues(ship text) RETURNS numeric AS $$
BEGIN
  RETURN 12.5;
END;
$$ LANGUAGE plpgsql;
