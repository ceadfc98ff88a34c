INSERT INTO project (id, name, created_at) VALUES (1, 'default', '2026-01-01 00:00:00');
INSERT INTO model (id, project_id, name, versions, created_at) VALUES (1, 1, 'rater', 2, '2026-01-01 00:00:00');
INSERT INTO model_version (id, model_id, number, bundle_id, blobs_url, flavour, metrics, run_id, application_id,
                           created_at, created_by, tracking_run_id)
VALUES (1, 1, 1, 'aaaa', 'file:///b', 'onnx', '{"auc": 0.1}', 'r1', '', '2026-01-01 00:00:00', 'ana', 'mlflow-run'),
       (2, 1, 2, 'bbbb', 'file:///b', 'onnx', '{"auc": 0.2}', 'r2', '', '2026-01-01 00:00:00', 'ana', NULL);
INSERT INTO endpoint (model_id, version_id, revision, changed_at) VALUES (1, 2, 3, '2026-01-03 00:00:00');
INSERT INTO deployment (model_id, version_id, revision, at, actor)
VALUES (1, 2, 1, '2026-01-01 00:00:00', 'ana'),
       (1, 1, 2, '2026-01-02 00:00:00', 'ben'),
       (1, 2, 3, '2026-01-03 00:00:00', 'ana')
