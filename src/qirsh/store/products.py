"""The catalogue's table."""

import asyncpg

from qirsh.catalog import Product
from qirsh.store.connection import Pool
from qirsh.store.rows import product_of, text
from qirsh.store.sql import SQL


class Products:
    """The table products."""

    def __init__(self, pool: Pool) -> None:
        """Work on a pool."""
        self._pool = pool

    async def put(self, product: Product, *, replace: bool = True) -> None:
        """Write a product; without `replace` only when there is none of its id."""
        await self._pool.execute(
            SQL["put_product" if replace else "put_product_if_absent"],
            product.id,
            text(product.name),
            text(product.prices),
            product.purchasable,
        )

    async def get(self, product_id: str) -> Product | None:
        """A product by its id."""
        record = await self._pool.fetchrow(SQL["product_by_id"], product_id)
        return None if record is None else _product(record)

    async def page(self, after: str, limit: int) -> list[Product]:
        """A page of products by id."""
        return [_product(record) for record in await self._pool.fetch(SQL["products_after"], after, limit)]


def _product(record: asyncpg.Record) -> Product:
    return product_of(record["id"], record["name"], record["prices"], purchasable=record["purchasable"])
