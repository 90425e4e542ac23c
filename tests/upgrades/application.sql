-- An application that uses every feature that changes what is in the database.
CREATE SCHEMA shop;
CREATE TABLE orders (
    id bigint PRIMARY KEY, customer_id int, status text NOT NULL, placed timestamptz, secret text
);
CREATE TABLE order_items (order_id bigint, line int, quantity numeric, PRIMARY KEY (order_id, line));
CREATE TABLE shop."Product list" (code text PRIMARY KEY, price money) PARTITION BY LIST (code);
CREATE TABLE shop.others PARTITION OF shop."Product list" DEFAULT;
CREATE VIEW shop.product_cards AS SELECT code, price::numeric FROM shop."Product list";
CREATE TABLE payments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount int);
CREATE TABLE notes (tag interval PRIMARY KEY, at timestamp, note text);
INSERT INTO orders VALUES (1, 7, 'placed', '2026-01-31 10:00+00', 'x'), (2, 7, 'draft', NULL, 'y');
INSERT INTO order_items VALUES (1, 1, 2);
INSERT INTO shop."Product list" VALUES ('tea', 3);
