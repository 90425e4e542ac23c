-- What the application did under the old version: it is kept, and must be after the migration.
UPDATE orders SET status = 'sent' WHERE id = 1;
UPDATE order_items SET quantity = 3;
DELETE FROM orders WHERE id = 2;
UPDATE shop."Product list" SET price = 4;
INSERT INTO payments (amount) VALUES (5), (-5), (6);
INSERT INTO notes VALUES ('1 day', '2026-01-31', 'first');
SELECT rowcast.publish('orders/1', '{"total": 12.50}', '{"by": "alice"}', 'order.sent');
