-- Run by the image of PostgreSQL when it makes an empty cluster.
create database mlflow;
